"""Feature maps: what a layer makes of an image, channel by channel."""

from npresnet.lens.feature_maps.measure import feature_maps
from npresnet.lens.feature_maps.result import FeatureMaps, MapRow

__all__ = [
    "FeatureMaps",
    "MapRow",
    "feature_maps",
]
