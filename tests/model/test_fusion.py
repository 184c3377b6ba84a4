"""What the classifier reads of two modalities, against the same by hand."""

import pytest
import torch

from turbo_kit.encoders import EncoderOutput
from turbo_kit.model.fusion import Fusion

WIDTHS = {"audio": 64, "text": 20}  # one that attention heads of 32 fit into, one that they do not
MASK = {
    "audio": torch.tensor([[True] * 5, [True] * 2 + [False] * 3, [True] * 4 + [False]]),
    "text": torch.tensor([[True] * 3 + [False], [True] * 4, [True] + [False] * 3]),
}


def encodings(passes=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for modality, width in WIDTHS.items():
        mask = MASK[modality]
        sequence = torch.randn(passes, *mask.shape, width, generator=generator) * mask[:, :, None]
        found[modality] = EncoderOutput(sequence, mask, sequence.sum(2) / mask.sum(1)[:, None])
    return found


def fusion_of(kind):
    torch.manual_seed(0)
    return Fusion(WIDTHS, kind)


def attended(part, own, other):
    """The pooled vector of one clip in one pass, plus the mean of what each position (T, D) finds in the other's."""
    attention = part.attention
    heads, bias = attention.num_heads, attention.in_proj_bias.chunk(3)
    if attention.in_proj_weight is None:
        weights = attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight
    else:
        weights = attention.in_proj_weight.chunk(3)
    given = (own, other, other)
    split = [
        torch.stack((x @ w.T + b).chunk(heads, dim=1)) for x, w, b in zip(given, weights, bias, strict=True)
    ]  # heads, positions, features of a head
    queries, keys, values = split
    shares = (queries @ keys.transpose(1, 2) / queries.shape[-1] ** 0.5).softmax(dim=-1)
    found = torch.cat(list(shares @ values), dim=1) @ attention.out_proj.weight.T + attention.out_proj.bias
    return own.mean(0) + found.mean(0)


@pytest.mark.parametrize(
    ("kind", "width"), [("concat", 84), ("gated", 64), ("cross-attention", 84), ("audio", 64), ("text", 20)]
)
def test_its_width_is_what_it_gives_and_every_parameter_learns(kind, width):
    fusion = fusion_of(kind)
    out = fusion(encodings())
    assert out.shape == (2, 3, fusion.width) and fusion.width == width
    parameters = dict(fusion.named_parameters())
    assert bool(parameters) == (kind in ("gated", "cross-attention"))
    if parameters:
        (out * torch.randn_like(out)).sum().backward()
        assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in parameters.values())


def test_concatenation_puts_audio_first():
    given = encodings()
    out = fusion_of("concat")(given)
    assert torch.equal(out[..., :64], given["audio"].pooled) and torch.equal(out[..., 64:], given["text"].pooled)


def test_the_gate_moves_each_feature_from_one_modality_to_the_other():
    fusion, given = fusion_of("gated"), encodings()
    audio, text = (fusion.values[m](given[m].pooled) for m in ("audio", "text"))
    together = torch.cat([given["audio"].pooled, given["text"].pooled], dim=-1)
    gate = 1 / (1 + torch.exp(-(together @ fusion.gate.weight.T + fusion.gate.bias)))
    torch.testing.assert_close(fusion(given), gate * audio + (1 - gate) * text)
    assert gate.std() > 0.01  # it looks at the clip
    with torch.no_grad():
        fusion.gate.bias.fill_(50.0)[::2] = -50.0
    out = fusion(given)
    torch.testing.assert_close(out[..., 1::2], audio[..., 1::2])
    torch.testing.assert_close(out[..., ::2], text[..., ::2])


def test_cross_attention_is_the_pooled_vector_and_what_positions_find_in_the_other_modality():
    fusion, given = fusion_of("cross-attention"), encodings()
    assert [part.attention.num_heads for part in fusion.attention.values()] == [2, 1]
    out = fusion(given)
    for number in range(2):
        for clip in range(3):
            audio, text = (given[m].sequence[number, clip][MASK[m][clip]] for m in ("audio", "text"))
            parts = attended(fusion.attention["audio"], audio, text), attended(fusion.attention["text"], text, audio)
            torch.testing.assert_close(out[number, clip], torch.cat(parts), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["concat", "gated", "cross-attention", "audio"])
def test_passes_and_clips_do_not_mix(kind):
    fusion, given, others = fusion_of(kind), encodings(), encodings(seed=1)
    before = fusion(given)
    changed = encodings()
    for modality, encoded in changed.items():  # the last clip in the second pass is another one
        encoded.sequence[1, 2], encoded.pooled[1, 2] = others[modality].sequence[1, 2], others[modality].pooled[1, 2]
    after = fusion(changed)
    assert torch.equal(after[0], before[0]) and torch.equal(after[1, :2], before[1, :2])
    assert not torch.allclose(after[1, 2], before[1, 2])
