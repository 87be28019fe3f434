"""The course. Readers start with ``npresnet course``, authors with AUTHORS.md."""
