"""Makes the notebooks from their texts, and checks them.

``python -m notebooks.make`` builds, ``python -m pytest notebooks`` checks.
"""
