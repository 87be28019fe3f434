"""PyTorch twins of every network, written from the papers and torchvision's names.

They share no code with npresnet: autograd does the backward pass, and each block
is written the short way. The names of modules, parameters and buffers are
torchvision's, so that a `state_dict` goes from one side to the other key by key.

He et al. 2015, "Deep Residual Learning for Image Recognition", arXiv:1512.03385:
section 3.3 and table 1 (the ImageNet family), section 4.2 (the CIFAR family).
The pooled networks are ours, after D. Page's ResNet-9.
"""

import torch
import torch.nn.functional as F
from torch import nn


def conv3x3(in_channels, out_channels, stride=1):
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def conv1x1(in_channels, out_channels, stride=1):
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


def projection(in_channels, out_channels, stride):
    return nn.Sequential(
        conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels)
    )


class ZeroPadShortcut(nn.Module):
    """Option A: every `stride`-th pixel, and new channels of zeros on both sides."""

    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.extra = out_channels - in_channels
        self.stride = stride

    def forward(self, x):
        x = x[:, :, :: self.stride, :: self.stride]
        before = self.extra // 2
        return F.pad(x, (0, 0, 0, 0, before, self.extra - before))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, in_channels, width, stride=1, downsample=None, stride_in="3x3"):
        super().__init__()
        del stride_in  # the stride of a basic block is always on its first 3x3
        self.conv1 = conv3x3(in_channels, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        if downsample is not None:
            self.downsample = downsample

    def branch(self, x):
        return self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))

    def forward(self, x):
        shortcut = self.downsample(x) if hasattr(self, "downsample") else x
        return self.relu(self.branch(x) + shortcut)


class PlainBlock(BasicBlock):
    """The same two convolutions, with no way round them."""

    def forward(self, x):
        return self.relu(self.branch(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, in_channels, width, stride=1, downsample=None, stride_in="3x3"):
        super().__init__()
        first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.conv1 = conv1x1(in_channels, width, first)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, second)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, 4 * width)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        if downsample is not None:
            self.downsample = downsample

    def forward(self, x):
        shortcut = self.downsample(x) if hasattr(self, "downsample") else x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.bn3(self.conv3(out)) + shortcut)


class ResNet(nn.Module):
    """Table 1 of the paper; stride_in="3x3" is torchvision's v1.5, "1x1" the paper."""

    def __init__(
        self,
        block,
        depths,
        num_classes=1000,
        zero_init_residual=False,
        stride_in="3x3",
        in_channels=3,
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = 64
        for stage, depth in enumerate(depths):
            width = 64 * 2**stage
            blocks = []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                out_channels = width * block.expansion
                changes = stride != 1 or channels != out_channels
                shortcut = (
                    projection(channels, out_channels, stride) if changes else None
                )
                blocks.append(block(channels, width, stride, shortcut, stride_in))
                channels = out_channels
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_out", nonlinearity="relu"
                )
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, BasicBlock):
                    nn.init.zeros_(module.bn2.weight)
                elif isinstance(module, Bottleneck):
                    nn.init.zeros_(module.bn3.weight)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class CifarResNet(nn.Module):
    """Section 4.2: depth = 6n + 2, stages of 16, 32, 64 channels; shortcut A, B, C.

    shortcut=None gives the plain twin.
    """

    def __init__(self, depth, num_classes=10, shortcut="A", in_channels=3):
        super().__init__()
        n, rest = divmod(depth - 2, 6)
        assert rest == 0
        block = PlainBlock if shortcut is None else BasicBlock
        self.conv1 = conv3x3(in_channels, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        channels = 16
        for stage, width in enumerate((16, 32, 64)):
            blocks = []
            for index in range(n):
                stride = 2 if stage > 0 and index == 0 else 1
                changes = stride != 1 or channels != width
                if shortcut == "C" or (shortcut == "B" and changes):
                    downsample = projection(channels, width, stride)
                elif shortcut == "A" and changes:
                    downsample = ZeroPadShortcut(channels, width, stride)
                else:
                    downsample = None
                blocks.append(block(channels, width, stride, downsample))
                channels = width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class PooledConv(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = conv3x3(in_channels, out_channels)
        self.maxpool = nn.MaxPool2d(2)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.bn(self.maxpool(self.conv(x))))


class PooledResNet(nn.Module):
    """Three times a convolution, max pooling and one residual block."""

    def __init__(self, widths, num_classes=10, in_channels=3):
        super().__init__()
        stem, *stages = widths
        self.conv1 = conv3x3(in_channels, stem)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        channels = stem
        for number, width in enumerate(stages, 1):
            stage = nn.Sequential(PooledConv(channels, width), BasicBlock(width, width))
            setattr(self, f"layer{number}", stage)
            channels = width
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))


IMAGENET = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}
SHALLOW = {"four bottlenecks": (Bottleneck, (1, 1, 1, 1))}  # for tests alone
POOLED = {"resnet11": (32, 64, 256, 256), "resnet11_narrow": (32, 64, 128, 256)}
CIFAR_DEPTHS = (8, 14, 20, 32, 44, 56, 110, 1202)


def create(name, **options):
    """Build the twin of `networks.create(name, **options)`, in training mode."""
    if name in IMAGENET | SHALLOW:
        return ResNet(*(IMAGENET | SHALLOW)[name], **options)
    if name in POOLED:
        return PooledResNet(POOLED[name], **options)
    if name.startswith("plain"):
        return CifarResNet(int(name.removeprefix("plain")), shortcut=None, **options)
    return CifarResNet(int(name.removeprefix("resnet")), **options)
