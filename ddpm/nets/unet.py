"""The U-Net of Ho et al. (2020), "Denoising diffusion probabilistic models", appendix B.

Beyond the paper, and off by default: labels (an embedding added to the time's), more heads than one, and whatever else
`ddpm.nets.options` offers. `ddpm.nets.presets` holds the settings of well-known nets.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ddpm.nets.blocks import swish
from ddpm.nets.embedding import TimeEmbedding
from ddpm.nets.init import init_weights
from ddpm.nets.levels import Embeddings, Parts, down_path, up_path
from ddpm.nets.options import PLAIN, Options
from ddpm.nets.rules import check_attention, check_options, check_shape
from ddpm.types import Images, Indices, Labels, Steps


class UNet(nn.Module):
    """Predict from a noisy image and its time a tensor of the image's shape (Ho et al. 2020, appendix B).

    It is born with the weights of `init_weights(net, seed=0)`: its output is practically zero. On the meta device
    (`with torch.device("meta")`) nothing is drawn and nothing takes memory.

    Args:
        in_channels: of the input: 1 gray, 3 color, twice that with self-conditioning.
        image_size: height and width, one number where they are equal; both divisible by 2^(levels - 1), because every
            level halves them.
        channels: width of the first level; a multiple of 32, the number of norm groups. A level of width 32 never
            learns the time if that is added: where a group is one channel, the norm removes all that the embedding
            adds. With scale-shift conditioning it does.
        multipliers: width of each level over `channels`, finest level first.
        blocks: residual blocks a level on the way down; the way up has one more.
        attention: resolutions with attention after each block, named by their height; the middle always has it.
        heads: of every attention, linear ones too, unless options.head_channels says how wide a head is.
        dropout: probability, in the residual blocks; acts only when keys are passed.
        num_classes: 0 for a net without labels; otherwise labels are 0..num_classes-1, num_classes is the null label.
        out_channels: of the output, twice the image's with learned variance; None: as many as `in_channels`.
        options: where the net departs from the paper.

    Raises:
        ValueError: the numbers do not fit together; the message names the rule.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int | tuple[int, int],
        channels: int,
        multipliers: Sequence[int],
        blocks: int,
        attention: Sequence[int],
        heads: int = 1,
        dropout: float = 0.0,
        num_classes: int = 0,
        out_channels: int | None = None,
        options: Options = PLAIN,
    ) -> None:
        super().__init__()
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        check_shape(in_channels, (height, width), channels, multipliers, blocks, num_classes)
        check_options(options, (height, width))
        check_attention(height, channels, multipliers, attention, heads, options)
        self.in_channels, self.image_size, self.num_classes = in_channels, (height, width), num_classes
        embedding_channels = 4 * channels
        parts = Parts(embedding_channels, attention, heads, dropout, options)
        sizes = [height >> level for level in range(len(multipliers))]
        widths = [channels * multiplier for multiplier in multipliers]

        self.conv_in = options.conv(in_channels, channels, options.stem)
        self.norm_in = options.norm(channels) if options.stem_norm else None
        self.time_embedding = TimeEmbedding(channels, embedding_channels, options.time_features)
        self.label_embedding = nn.Embedding(num_classes + 1, embedding_channels) if num_classes > 0 else None
        self.down, skips = down_path(parts, sizes, [channels, *widths], blocks)
        self.middle_block_1 = parts.block(widths[-1], widths[-1])
        self.middle_attention = parts.attention_over(widths[-1])
        self.middle_block_2 = parts.block(widths[-1], widths[-1])
        self.up = up_path(parts, sizes, widths, skips)
        self.norm_out = options.norm(widths[0])
        self.conv_out = options.conv(widths[0], out_channels or in_channels)
        init_weights(self, seed=0)

    def forward(
        self, x_t: Images, t: Steps, labels: Labels | None = None, dropout_keys: Indices | None = None
    ) -> Images:
        """Run the net.

        Args:
            x_t: (batch, in_channels, height, width).
            t: (batch,), the net's own time, embedded as it comes; Ho et al. count it 0..T-1. It may be fractional.
            labels: (batch,), for a net with classes and only for such.
            dropout_keys: (batch,), one random 32-bit number per sample and step; None: no dropout.

        Raises:
            ValueError: the image is not of the shape the net was built for, or labels are missing or superfluous.
        """
        shape = (self.in_channels, *self.image_size)
        if x_t.shape[1:] != shape:
            rule = f"x_t must be (batch, {', '.join(map(str, shape))})"
            raise ValueError(f"UNet: {rule}, got {tuple(x_t.shape)}; resize or rebuild")
        # Every block would begin with a swish of the same embedding: done once, here.
        embedding = F.silu(self.embed(t, labels))  # (b, 4 channels)
        h = self.conv_in(x_t)  # (b, channels, height, width)
        skips = [h if self.norm_in is None else swish(self.norm_in(h))]
        for level in self.down:
            skips += level(skips[-1], embedding, dropout_keys)
        h = self.middle_block_1(skips[-1], embedding, dropout_keys)  # (b, c_last, lowest, narrowest)
        h = self.middle_block_2(self.middle_attention(h), embedding, dropout_keys)
        for level in self.up:
            h = level(h, skips, embedding, dropout_keys)
        y: Tensor = self.conv_out(swish(self.norm_out(h)))  # (b, out_channels, height, width)
        return y

    def embed(self, t: Steps, labels: Labels | None) -> Embeddings:
        """Add up the embeddings of time and label, (batch, 4 channels); raises ValueError as `forward` does."""
        embedding: Tensor = self.time_embedding(t)
        if (labels is None) != (self.label_embedding is None):
            way_out = "labels; pass none" if labels is not None else f"none; {self.num_classes} is the null label"
            raise ValueError(f"UNet: labels go with classes, this one has {self.num_classes} and got {way_out}")
        return embedding if self.label_embedding is None else embedding + self.label_embedding(labels)
