"""Where each bug is looked for: tests of the ordinary suite, the quick ones first."""

from npresnet.lens import bugs

# By what a bug replaces: the mirror file of that place.
_MIRRORS = {
    "npresnet.backend:conv2d": "tests/functional/test_conv.py",
    "npresnet.backend.geometry": "tests/functional/test_conv.py",
    "npresnet.backend:batch_norm": "tests/functional/test_norm.py",
    "npresnet.backend:max_pool2d": "tests/functional/test_pool.py",
    "npresnet.backend:adaptive_avg_pool2d": "tests/functional/test_pool.py",
    "npresnet.backend:relu": "tests/functional/test_activation.py",
    "npresnet.functional.conv": "tests/functional/test_conv.py",
    "npresnet.functional.norm": "tests/functional/test_norm.py",
    "npresnet.functional.pool": "tests/functional/test_pool.py",
    "npresnet.functional.loss": "tests/functional/test_loss.py",
    "npresnet.functional.linear": "tests/functional/test_linear.py",
    "npresnet.functional.shortcut": "tests/functional/test_shortcut.py",
    "npresnet.nn.module:Module.state_dict": "tests/nn/test_state.py",
    "npresnet.nn.init": "tests/nn/test_layers.py tests/models/test_architecture.py",
    "npresnet.nn.norm": "tests/nn/test_layers.py tests/models/test_architecture.py",
    "npresnet.nn": "tests/nn/test_module.py",
    "npresnet.models.blocks": "tests/models/test_blocks.py tests/models/test_counts.py",
    "npresnet.models": "tests/models/test_counts.py",
    "npresnet.optim": "tests/optim/test_optimizers.py",
    "npresnet.data.augment": "tests/data/test_augment.py tests/data/test_batching.py",
    "npresnet.data.batching": "tests/data/test_batching.py",
    "npresnet.data.cifar10": "tests/data/test_cifar10.py",
    "npresnet.data.digits": "tests/data/test_digits.py",
    "npresnet.training.recipes": "tests/training/test_recipe.py",
    "npresnet.training": "tests/training/test_fit.py::"
    "test_evaluation_does_not_depend_on_the_batch_size_nor_change_the_mode",
}

# The largest networks take seconds each, and show nothing that smaller ones do not.
DESELECTED = "not resnet101 and not resnet152"

# One of each kind, for the ordinary run.
QUICK = (
    "col2im_overwrites",
    "batch_norm_drops_variance_term",
    "max_pool_ties_all_win",
    "fork_gradient_averaged",
    "cache_is_a_queue",
)


def tests_for(name, with_torch=True):
    """List the test files that are expected to catch a bug."""
    where = bugs.describe(name).where
    mirror = max((place for place in _MIRRORS if where.startswith(place)), key=len)
    files = _MIRRORS[mirror].split()
    # Where PyTorch does not say what is right, finite differences do.
    return files if with_torch else [*files, "tests/testing/test_gradients.py"]
