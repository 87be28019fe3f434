"""Pictures as people have them: odd modes, damaged notes, many at once, bad ones."""

import io
import json
import os
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import npresnet as nr
from npresnet.cli import images, predict
from tests.cli.program import assert_one_error_line, invoke, save_weights

SHAPE = (3, 8, 8)
COLOURS = np.random.default_rng(4).integers(0, 256, (8, 8, 3), dtype=np.uint8)
GREY = np.random.default_rng(5).integers(0, 256, (8, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    return save_weights(path, nr.models.resnet8(), shortcut="A")


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """Weights for pictures in colour."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    note = {
        "model": {"name": "resnet8", "shortcut": "A"},
        "dataset": {
            "name": "something",
            "classes": list("0123456789"),
            "image_shape": list(SHAPE),
            "mean": [0.3, 0.4, 0.5],
            "std": [0.4, 0.4, 0.4],
        },
    }
    model = nr.models.resnet8()
    nr.weights.save(path, model, metadata={"npresnet": json.dumps(note)})
    return path


def read(path):
    return images.read_image(str(path), SHAPE, False)


def as_read(pixels):
    """Return grey or coloured pixels as `read_image` does: (C, H, W)."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return pixels.transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (GREY.astype(np.float32) / 255, GREY),
        (GREY.astype(np.float32), GREY),
        (GREY.astype(np.float32) * 257, GREY),
        (GREY.astype(np.uint16) * 257, GREY),
        (GREY.astype(np.int32) * 257, GREY),
        (np.where(GREY > 9, np.nan, 0).astype(np.float32), np.zeros_like(GREY)),
        (
            np.linspace(-3, 5, 64, dtype=np.float32).reshape(8, 8),
            np.rint(np.linspace(0, 255, 64)).astype(np.uint8).reshape(8, 8),
        ),
        (GREY > 100, np.where(GREY > 100, 255, 0).astype(np.uint8)),
    ],
    ids="fractions bytes large 16-bit 32-bit NaN signed 1-bit".split(),
)
def test_numbers_of_every_kind_keep_their_levels(values, expected, tmp_path):
    path = tmp_path / "x.tif"
    Image.fromarray(values).save(path)
    np.testing.assert_allclose(read(path), as_read(expected), atol=1)


def test_sixteen_bits_are_read_from_png(tmp_path):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read(tmp_path / "x.png"), as_read(GREY))


def test_palettes_and_cmyk_keep_their_colours(tmp_path):
    few = COLOURS // 128 * 255  # eight colours
    palette = Image.fromarray(few).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "x.gif")
    np.testing.assert_array_equal(read(tmp_path / "x.gif"), as_read(few))
    cmyk = Image.fromarray(few).convert("CMYK")
    cmyk.save(tmp_path / "x.tif")
    np.testing.assert_allclose(read(tmp_path / "x.tif"), as_read(few), atol=1)


def see_through(mode):
    """Return a picture that is half transparent at the left, and what is to be seen."""
    alpha = np.full((8, 8), 255, np.uint8)
    alpha[:, :4] = 0
    alpha[:, 4:6] = 128
    grey = mode.startswith("L")
    pixels = GREY if grey else COLOURS
    image = Image.fromarray(pixels)
    image.putalpha(Image.fromarray(alpha))
    share = alpha / 255 if grey else alpha[:, :, None] / 255
    return image, as_read(np.rint(pixels * share + 255 * (1 - share)).astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_are_white(mode, tmp_path):
    image, expected = see_through(mode)
    assert image.mode == mode
    image.save(tmp_path / "x.png")
    np.testing.assert_allclose(read(tmp_path / "x.png"), expected, atol=1)


def test_one_colour_or_level_that_stands_for_nothing_is_white(tmp_path):
    path = tmp_path / "x.png"
    palette = Image.fromarray(np.where(GREY > 100, 1, 0).astype(np.uint8), mode=None)
    palette = palette.convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(path, transparency=0)
    expected = np.where(GREY[:, :, None] > 100, [40, 50, 60], 255)
    np.testing.assert_array_equal(read(path), as_read(expected))
    wide = np.where(GREY > 100, 25_700, 7).astype(np.uint16)
    Image.fromarray(wide).save(path, transparency=7)
    np.testing.assert_array_equal(read(path), as_read(np.where(GREY > 100, 100, 255)))


def test_exif_data_turn_the_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: 90 degrees clockwise to be upright
    for name in ("x.png", "x.tif", "x.jpg", "x.webp"):
        Image.fromarray(COLOURS).save(
            tmp_path / name, exif=exif, **({"quality": 100} if name == "x.jpg" else {})
        )
        plain = tmp_path / f"plain{name[1:]}"
        Image.fromarray(COLOURS).save(
            plain, **({"quality": 100} if name == "x.jpg" else {})
        )
        turned = np.rot90(read(plain), -1, axes=(1, 2))
        np.testing.assert_array_equal(read(tmp_path / name), turned, err_msg=name)


def jpeg(**options):
    file = io.BytesIO()
    Image.fromarray(COLOURS).save(file, "JPEG", **options)
    return file.getvalue()


def with_segment(content, marker, payload):
    """Put a segment behind the beginning of a JPEG."""
    length = struct.pack(">H", len(payload) + 2)
    return content[:2] + b"\xff" + marker + length + payload + content[2:]


DAMAGED = {
    "EXIF cut off": with_segment(
        jpeg(), b"\xe1", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12"
    ),
    "EXIF of nothing": with_segment(jpeg(), b"\xe1", b"Exif\0\0" + bytes(20)),
    "EXIF that leads away": with_segment(
        jpeg(),
        b"\xe1",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\xff\xff\xff\xff\x7f\xff\xff\xff",
    ),
    "malformed MPO": with_segment(
        jpeg(), b"\xe2", b"MPF\0II*\0\x08\0\0\0\x01\0\x01\xb0\x04\0\x09\0\0\0zzzz"
    ),
    "MPO without images": with_segment(jpeg(), b"\xe2", b"MPF\0II*\0\x08\0\0\0\0\0"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_notes_do_not_matter(damage, coloured, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(DAMAGED[damage])
    clean = tmp_path / "clean.jpg"
    clean.write_bytes(jpeg())
    result = invoke("predict", coloured, path, clean, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    first, second = json.loads(result.stdout)["predictions"]
    assert first | {"image": ""} == second | {"image": ""}
    look = invoke("lens", "saliency", coloured, "--image", path, "--json")
    assert look.exit_code == 0, look.output


def test_a_file_is_shown_to_the_usual_decoders_only(weights, tmp_path, monkeypatch):
    """PostScript, whatever it is called, would start Ghostscript."""
    from PIL import EpsImagePlugin

    def refuse(*args, **options):
        raise AssertionError("Ghostscript was asked")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", refuse)
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EOF\n")
    assert_one_error_line(invoke("predict", weights, path), "x.png", "PNG, JPEG")
    for kind in ("PCX", "TGA", "ICO", "PDF"):
        with open(path, "wb") as file:
            Image.fromarray(COLOURS).save(file, kind)
        assert_one_error_line(invoke("predict", weights, path), "x.png", "PNG, JPEG")


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "PPM"]
)
def test_the_usual_formats_are_read_whatever_they_are_called(kind, tmp_path):
    path = tmp_path / "x.img"
    Image.fromarray(COLOURS).save(path, kind)
    assert read(path).shape == SHAPE


def png_of(width, height):
    """Write the beginning of a PNG that says how large it is."""
    import zlib

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels)


@pytest.mark.parametrize("side", [9_500, 20_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_before_it_goes_off(side, weights, tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(side, side))
    tracemalloc.start()
    result = invoke("predict", weights, path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert_one_error_line(result, "bomb.png", "million pixels")
    assert peak < 20_000_000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files")
def test_a_pipe_is_refused_not_waited_for(weights, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for command in (("predict", weights, tmp_path / "pipe.png"),):
        assert_one_error_line(invoke(*command), "pipe.png", "no ordinary file")


def test_a_bad_file_silences_no_other(weights, tmp_path):
    good = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(good):
        Image.fromarray(nr.data.digits()[1].images[number, 0]).save(path)
    text, half, blank = (tmp_path / f"{name}.png" for name in ("text", "half", "blank"))
    text.write_text("no image")
    half.write_bytes(good[0].read_bytes()[:60])
    Image.new("L", (8, 8), 255).save(blank)
    missing = tmp_path / "missing.png"
    paths = [text, good[0], half, good[1], missing, blank, good[2]]
    result = invoke("predict", weights, *paths)
    assert result.exit_code == 2
    answers = result.stdout.splitlines()
    assert [line.split(": ")[0] for line in answers] == [str(path) for path in good]
    lines = result.stderr.splitlines()
    assert len(lines) == 4
    for line, path in zip(lines, (text, half, missing, blank), strict=True):
        assert line.startswith(f"npresnet: error: {path}: ")

    told = invoke("predict", weights, *paths, "--json")
    assert told.exit_code == 2
    assert told.stderr.splitlines() == lines
    answer = json.loads(told.stdout)
    assert [one["image"] for one in answer["predictions"]] == [str(p) for p in good]
    named = [one["image"] for one in answer["unreadable"]]
    assert named == [str(path) for path in (text, half, missing, blank)]
    alone = json.loads(invoke("predict", weights, *good, "--json").stdout)
    assert alone == {"predictions": answer["predictions"], "unreadable": []}


def test_lens_names_every_bad_file_and_shows_no_part_of_a_result(weights, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    result = invoke(
        *("lens", "saliency", weights, "--image", tmp_path / "text.png"),
        *("--image", tmp_path / "missing.png"),
    )
    assert_one_error_line(result, "text.png", "missing.png")
    assert result.stdout == ""


def test_answers_come_batch_by_batch_and_memory_holds_one(
    coloured, tmp_path, monkeypatch
):
    """However many images there are, no more than a batch of them is there at once."""
    paths = [tmp_path / f"{number}.png" for number in range(7)]
    for path in paths:
        Image.fromarray(COLOURS).save(path)
    monkeypatch.setattr(predict, "_BATCH", 3)
    events = []
    read_image, show = predict.read_image, predict._print
    monkeypatch.setattr(
        predict, "read_image", lambda *args: events.append("read") or read_image(*args)
    )
    monkeypatch.setattr(
        predict, "_print", lambda answer: events.append("answer") or show(answer)
    )
    sizes = []
    normalize = nr.data.normalize
    monkeypatch.setattr(
        nr.data,
        "normalize",
        lambda x, *rest: sizes.append(len(x)) or normalize(x, *rest),
    )
    result = invoke("predict", coloured, *paths)
    assert result.exit_code == 0, result.output
    assert sizes == [3, 3, 1]
    assert events == ["read"] * 3 + ["answer"] * 3 + ["read"] * 3 + ["answer"] * 3 + [
        "read",
        "answer",
    ]


def test_predict_says_that_it_cropped(coloured, tmp_path):
    path = tmp_path / "photo.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(path)
    line = (
        f"{path}: cropped from 30x40 to 30x30 around its centre, and resized to 8x8\n"
    )
    assert invoke("predict", coloured, path).stderr == line
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    line = f"{path}: resized from 40x40 to 8x8\n"
    assert invoke("predict", coloured, path).stderr == line


def test_swapped_arguments_are_told_as_such(weights, tmp_path):
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        path = tmp_path / f"cat.{kind}"
        Image.fromarray(COLOURS).save(path, kind)
        result = invoke("predict", path, weights)
        assert_one_error_line(result, f"picture ({kind})", "WEIGHTS comes first")
        assert "--model" not in result.stderr
        for command in (("eval", path), ("lens", "ledger", path)):
            result = invoke(*command, "--model", "resnet8", "--dataset", "digits")
            assert_one_error_line(result, "cat.", f"found a picture ({kind})")
