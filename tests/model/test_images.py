"""How bytes become a picture. Every file is made here; colours are four quarters that tell up from down."""

import io
import struct
import threading
import tracemalloc
import warnings
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from model.images import (
    Fault,
    PictureError,
    encode_jpeg,
    fit_within,
    open_picture,
    working_copy,
)

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 180, 60), (40, 60, 210), (255, 255, 255)
WIDTH, HEIGHT = 96, 64


def quarters(width=WIDTH, height=HEIGHT) -> Image.Image:
    """Red and green above, blue and white below."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def assert_quarters(image: Image.Image, tolerance=25) -> None:
    width, height = image.size
    points = [(0.25, 0.25, RED), (0.75, 0.25, GREEN), (0.25, 0.75, BLUE), (0.75, 0.75, WHITE)]
    for x, y, colour in points:
        pixel = image.getpixel((int(width * x), int(height * y)))
        assert np.allclose(pixel, colour, atol=tolerance), (x, y, pixel, colour)


def refusal(data, **options) -> PictureError:
    with pytest.raises(PictureError) as caught:
        open_picture(data, **options)
    return caught.value


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


# What each orientation of EXIF means: the stored pixels of an upright picture.
STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class TestOrientation:
    @pytest.mark.parametrize("orientation", STORED_AS)
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_every_orientation_comes_out_upright(self, orientation, kind):
        stored = quarters().transpose(STORED_AS[orientation])
        picture = open_picture(saved(stored, kind, exif=exif(orientation)))
        assert (picture.width, picture.height) == picture.image.size == (WIDTH, HEIGHT)
        assert_quarters(picture.image)

    @pytest.mark.parametrize("orientation", STORED_AS)
    def test_a_reduced_decode_is_upright_and_reports_the_true_size(self, orientation):
        stored = quarters(960, 640).transpose(STORED_AS[orientation])
        picture = open_picture(saved(stored, "JPEG", exif=exif(orientation)), target=100)
        assert (picture.width, picture.height) == (960, 640)
        assert picture.image.size == (240, 160)
        assert_quarters(picture.image)

    @pytest.mark.parametrize("orientation", [0, 9, 65535])
    def test_an_orientation_that_does_not_exist_is_ignored(self, orientation):
        picture = open_picture(saved(quarters(), "JPEG", exif=exif(orientation)))
        assert_quarters(picture.image)

    @pytest.mark.parametrize(
        "damaged", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"garbage" * 9]
    )
    def test_damaged_exif_is_dropped_and_the_picture_kept(self, damaged):
        picture = open_picture(saved(quarters(), "JPEG", exif=b"Exif\0\0" + damaged))
        assert_quarters(picture.image)


class TestFormats:
    @pytest.mark.parametrize(
        ("kind", "media_type"),
        [
            ("JPEG", "image/jpeg"),
            ("PNG", "image/png"),
            ("WEBP", "image/webp"),
            ("TIFF", "image/tiff"),
            ("BMP", "image/bmp"),
            ("GIF", "image/gif"),
            ("AVIF", "image/avif"),
            ("JPEG2000", "image/jp2"),
            ("PPM", "image/x-portable-anymap"),
        ],
    )
    def test_is_read(self, kind, media_type):
        picture = open_picture(saved(quarters(), kind))
        assert picture.image.mode == "RGB"
        assert picture.media_type == media_type
        assert picture.notes == ()
        assert_quarters(picture.image)

    def test_heic_is_read(self):
        buffer = io.BytesIO()
        pillow_heif.from_pillow(quarters()).save(buffer, quality=95)
        picture = open_picture(buffer.getvalue())
        assert picture.media_type == "image/heic"
        assert_quarters(picture.image, tolerance=35)

    def test_reading_heic_does_not_teach_pillow_for_everybody(self):
        assert "HEIF" not in Image.OPEN

    def test_reads_a_path_and_a_stream(self, tmp_path):
        data = saved(quarters(), "PNG")
        path = tmp_path / "a.txt"
        path.write_bytes(data)
        assert_quarters(open_picture(path).image)
        assert_quarters(open_picture(io.BytesIO(data)).image)

    @pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG", "MPO"])
    def test_the_first_of_several_pictures_counts_and_the_others_are_noted(self, kind):
        others = [Image.new("RGB", (WIDTH, HEIGHT), "black"), Image.new("RGB", (WIDTH, HEIGHT), "yellow")]
        picture = open_picture(saved(quarters(), kind, save_all=True, append_images=others))
        assert picture.notes == ("extra-frames",)
        assert_quarters(picture.image)

    def test_a_tiff_that_begins_with_its_thumbnail_gives_the_picture(self):
        buffer = io.BytesIO()
        thumbnail = Image.new("RGB", (12, 8), "black")
        marked = ImageFileDirectory_v2()
        marked[254] = 1
        thumbnail.encoderinfo = {"tiffinfo": marked}
        thumbnail.save(buffer, "TIFF", save_all=True, append_images=[quarters()], tiffinfo=marked)
        # Pillow repeats the mark on every page; take it off the second.
        data = bytearray(buffer.getvalue())
        with TiffImagePlugin.TiffImageFile(io.BytesIO(bytes(data))) as pages:
            pages.seek(1)
            if pages.tag_v2.get(254):
                at = data.rindex(struct.pack("<HHLL", 254, 4, 1, 1))
                data[at : at + 12] = struct.pack("<HHLL", 254, 4, 1, 0)
        picture = open_picture(bytes(data))
        assert picture.image.size == (WIDTH, HEIGHT)
        assert_quarters(picture.image)

    def test_a_raw_file_whose_preview_is_a_tiff_is_refused_by_name(self):
        tags = ImageFileDirectory_v2()
        tags[50706] = b"\x01\x04\x00\x00"
        error = refusal(saved(quarters(), "TIFF", tiffinfo=tags))
        assert error.code == Fault.UNSUPPORTED_FORMAT
        assert "raw" in error.message

    def test_nothing_of_pillow_is_changed(self):
        before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, sorted(Image.OPEN))
        open_picture(saved(quarters(), "PNG"))
        refusal(b"text")
        assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, sorted(Image.OPEN))
        assert ImageFile.LOAD_TRUNCATED_IMAGES is False


class TestTransparency:
    """The colour under transparent pixels never shows: they are white."""

    def half_clear(self, mode):
        image = quarters().convert(mode)
        alpha = Image.new("L", image.size, 255)
        alpha.paste(0, (0, 0, WIDTH // 2, HEIGHT))
        image.putalpha(alpha)
        return image

    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
    def test_rgba(self, kind):
        image = open_picture(saved(self.half_clear("RGB"), kind)).image
        assert np.allclose(image.getpixel((10, 10)), WHITE, atol=10)
        assert np.allclose(image.getpixel((80, 10)), GREEN, atol=25)

    def test_grey_with_alpha(self):
        image = open_picture(saved(self.half_clear("L"), "PNG")).image
        assert image.getpixel((10, 10)) == WHITE
        grey = image.getpixel((80, 10))
        assert len(set(grey)) == 1
        assert grey[0] < 200

    def test_half_transparent_is_mixed_with_white(self):
        image = Image.new("RGBA", (16, 16), (0, 0, 0, 128))
        assert np.allclose(open_picture(saved(image, "PNG")).image.getpixel((8, 8)), 127, atol=2)

    def test_one_transparent_colour_of_rgb_and_of_grey(self):
        rgb = open_picture(saved(quarters(), "PNG", transparency=RED)).image
        assert rgb.getpixel((10, 10)) == WHITE
        assert rgb.getpixel((80, 10)) == GREEN
        grey = open_picture(saved(Image.new("L", (8, 8), 7), "PNG", transparency=7)).image
        assert grey.getpixel((4, 4)) == WHITE

    def test_palette_with_one_and_with_many_transparent_entries(self):
        palette = quarters().quantize(8)
        clear = palette.getpixel((10, 10))
        one = open_picture(saved(palette, "PNG", transparency=clear)).image
        many = open_picture(saved(palette, "PNG", transparency=bytes([0] * 8))).image
        assert one.getpixel((10, 10)) == WHITE
        assert np.allclose(one.getpixel((80, 10)), GREEN, atol=10)
        assert many.getpixel((80, 10)) == WHITE

    def test_gif_with_a_transparent_colour(self):
        palette = quarters().quantize(8)
        image = open_picture(saved(palette, "GIF", transparency=palette.getpixel((10, 10)))).image
        assert image.getpixel((10, 10)) == WHITE


def ramp(dtype, top):
    return (np.tile(np.linspace(0, top, WIDTH), (HEIGHT, 1))).astype(dtype)


class TestDepth:
    """More than 8 bits are scaled, not clipped."""

    def assert_ramp(self, picture):
        pixels = np.asarray(picture.image)[HEIGHT // 2, :, 0].astype(int)
        assert np.allclose(pixels, np.linspace(0, 255, WIDTH), atol=3)

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_16_bit_grey(self, kind):
        self.assert_ramp(open_picture(saved(Image.fromarray(ramp(np.uint16, 65535)), kind)))

    def test_16_bit_grey_big_endian_tiff(self):
        image = Image.frombytes("I;16B", (WIDTH, HEIGHT), ramp(">u2", 65535).tobytes())
        self.assert_ramp(open_picture(saved(image, "TIFF")))

    def test_16_bit_grey_where_white_is_zero(self):
        tags = ImageFileDirectory_v2()
        tags[262] = 0
        data = bytearray(saved(Image.fromarray(65535 - ramp(np.uint16, 65535)), "TIFF"))
        at = data.index(struct.pack("<HHLH", 262, 3, 1, 1))
        data[at : at + 10] = struct.pack("<HHLH", 262, 3, 1, 0)
        self.assert_ramp(open_picture(bytes(data)))

    def test_16_bit_pgm(self):
        values = ramp(">u2", 65535)
        self.assert_ramp(open_picture(b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + values.tobytes()))

    def test_16_bit_colour_png(self):
        values = np.repeat(ramp(">u2", 65535)[:, :, None], 3, axis=2)
        self.assert_ramp(open_picture(png(WIDTH, HEIGHT, 16, 2, values.reshape(HEIGHT, -1).tobytes())))

    @pytest.mark.parametrize("top", [1.0, 255.0, 4000.0])
    def test_float_tiff(self, top):
        self.assert_ramp(open_picture(saved(Image.fromarray(ramp(np.float32, top)), "TIFF")))

    def test_float_tiff_with_values_that_are_no_numbers(self):
        values = ramp(np.float32, 1.0)
        values[0, 0], values[0, 1] = np.nan, np.inf
        self.assert_ramp(open_picture(saved(Image.fromarray(values), "TIFF")))

    def test_float_tiff_of_nothing_but_no_numbers(self):
        values = np.full((8, 8), np.nan, np.float32)
        assert open_picture(saved(Image.fromarray(values), "TIFF")).image.getpixel((4, 4)) == (0, 0, 0)

    def test_32_bit_integers(self):
        self.assert_ramp(open_picture(saved(Image.fromarray(ramp(np.int32, 1_000_000)), "TIFF")))

    def test_one_value_everywhere(self):
        values = np.full((8, 8), 500.0, np.float32)
        assert open_picture(saved(Image.fromarray(values), "TIFF")).image.size == (8, 8)

    def test_one_bit(self):
        image = Image.new("1", (16, 16), 1)
        assert open_picture(saved(image, "PNG")).image.getpixel((8, 8)) == WHITE

    def test_16_bit_grey_with_a_transparent_value(self):
        values = np.full((8, 8), 300, ">u2")
        data = png(8, 8, 16, 0, values.tobytes(), trns=struct.pack(">H", 300))
        assert open_picture(data).image.getpixel((4, 4)) == WHITE


def png(width, height, depth, colour, pixels, trns=b"") -> bytes:
    """A PNG of raw rows, for what Pillow does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = len(pixels) // height
    lines = b"".join(b"\0" + pixels[at : at + row] for at in range(0, len(pixels), row))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + (chunk(b"tRNS", trns) if trns else b"")
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


class TestColour:
    @pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
    def test_print_colours_paper_white_ink_black(self, kind):
        cmyk = Image.new("CMYK", (60, 20), (0, 0, 0, 0))
        cmyk.paste((255, 0, 0, 0), (20, 0, 40, 20))
        cmyk.paste((0, 0, 0, 255), (40, 0, 60, 20))
        image = open_picture(saved(cmyk, kind)).image
        assert np.allclose(image.getpixel((8, 10)), WHITE, atol=5)
        assert np.allclose(image.getpixel((30, 10)), (0, 255, 255), atol=5)
        assert np.allclose(image.getpixel((52, 10)), (0, 0, 0), atol=5)

    def test_a_profile_is_honoured(self):
        # A profile whose red and green are swapped makes red pixels green.
        swapped = swapped_profile()
        image = open_picture(saved(Image.new("RGB", (16, 16), (255, 0, 0)), "PNG", icc_profile=swapped)).image
        red, green, _ = image.getpixel((8, 8))
        assert green > 200 > 100 > red

    def test_a_grey_profile_is_honoured(self):
        linear = profile_of(b"GRAY", b"XYZ ", {b"wtpt": D50, b"kTRC": b"curv" + bytes(8)})
        image = open_picture(saved(Image.new("L", (16, 16), 128), "PNG", icc_profile=linear)).image
        # Half the light is 188 in sRGB.
        assert np.allclose(image.getpixel((8, 8)), 188, atol=2)

    @pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
    def test_a_print_profile_is_honoured(self, kind):
        cmyk = Image.new("CMYK", (60, 20), (0, 0, 0, 0))
        cmyk.paste((255, 0, 0, 0), (20, 0, 40, 20))
        cmyk.paste((0, 0, 0, 255), (40, 0, 60, 20))
        image = open_picture(saved(cmyk, kind, icc_profile=print_profile())).image
        assert np.allclose(image.getpixel((8, 10)), WHITE, atol=5)
        # The profile says that this cyan prints as a middle grey, which no formula would.
        assert len({value // 8 for value in image.getpixel((30, 10))}) == 1
        assert 90 < image.getpixel((30, 10))[0] < 150
        assert max(image.getpixel((52, 10))) < 20

    def test_srgb_itself_changes_nothing(self):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        image = open_picture(saved(quarters(), "PNG", icc_profile=profile)).image
        assert image.getpixel((10, 10)) == RED

    @pytest.mark.parametrize("damaged", [b"x", b"\0" * 128, b"not a profile" * 40])
    @pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
    def test_a_damaged_profile_is_taken_as_srgb(self, damaged, mode):
        data = saved(quarters().convert(mode), "JPEG", icc_profile=damaged)
        plain = saved(quarters().convert(mode), "JPEG")
        assert open_picture(data).image.tobytes() == open_picture(plain).image.tobytes()

    def test_a_profile_of_another_kind_of_colour_is_taken_as_srgb(self):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        assert_quarters(open_picture(saved(quarters(), "PNG", icc_profile=profile)).image)

    def test_lab_tiff(self):
        to_lab = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        assert_quarters(open_picture(saved(ImageCms.applyTransform(quarters(), to_lab), "TIFF")).image)

    def test_metadata_does_not_travel_on(self):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        data = saved(quarters(), "JPEG", exif=exif(1), icc_profile=profile, comment=b"at home")
        again = Image.open(io.BytesIO(encode_jpeg(open_picture(data).image)))
        assert not {"exif", "icc_profile", "comment", "xmp"} & set(again.info)


D50 = b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061)


def profile_of(colours: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A minimal ICC profile, version 2.1 (ICC.1:1998-09)."""
    table, body, at = b"", b"", 128 + 4 + 12 * (len(tags) + 1)
    for name, data in {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78),
        **tags,
    }.items():
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += padded
    size = at + len(body)
    kind = b"prtr" if colours == b"CMYK" else b"mntr"
    header = struct.pack(">I4sI4s4s4s12x4s", size, b"none", 0x02100000, kind, colours, connection, b"acsp")
    white = struct.pack(">iii", 63190, 65536, 54061)
    header = header.ljust(68, b"\0") + white
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags) + 1) + table + body


def print_profile() -> bytes:
    """A printer whose inks are all grey: paper L* 100, each colour ink down to 50, black ink to 0."""
    identity = bytes(range(256))
    grid = bytearray()
    for point in range(16):
        cyan, magenta, yellow, black = (point >> bit & 1 for bit in (3, 2, 1, 0))
        lightness = 0 if black else 100 - 50 * max(cyan, magenta, yellow)
        grid += bytes([lightness * 255 // 100, 128, 128])
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + identity * 4 + bytes(grid) + identity * 3
    return profile_of(b"CMYK", b"Lab ", {b"wtpt": D50, b"A2B0": lut, b"A2B1": lut})


def swapped_profile() -> bytes:
    """sRGB with its red and green colorants exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = (profile.index(name) for name in (b"rXYZ", b"gXYZ"))
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    name = profile.index("sRGB".encode("utf-16-be"))
    profile[name : name + 8] = "swap".encode("utf-16-be")
    return bytes(profile)


class TestRefusals:
    def test_empty(self):
        assert refusal(b"").code == Fault.EMPTY_FILE

    @pytest.mark.parametrize(
        "data", [b"hello", b"\0" * 500, b"{}", b"<!DOCTYPE html><title>x", b"PK\x03\x04abc"]
    )
    def test_not_an_image(self, data):
        assert refusal(data).code == Fault.NOT_AN_IMAGE

    @pytest.mark.parametrize(
        "data",
        [
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x -->\n<svg/>",
            b"%PDF-1.7",
            b"8BPS\0\1",
            b"\0\0\1\0\1\0",
            b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
            b"\xff\x0a\xfa",
        ],
    )
    def test_formats_that_are_known_but_not_read_are_refused_with_the_mend(self, data):
        error = refusal(data)
        assert error.code == Fault.UNSUPPORTED_FORMAT
        assert "JPEG" in error.message

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM"])
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_a_file_that_was_cut(self, kind, share):
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8))
        data = saved(noise, kind)
        assert refusal(data[: int(len(data) * share)]).code in (Fault.TRUNCATED, Fault.DAMAGED)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
    def test_a_cut_file_is_called_cut(self, kind):
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8))
        data = saved(noise, kind)
        assert refusal(data[: len(data) // 2]).code == Fault.TRUNCATED

    def test_a_jpeg_whose_end_is_zeros(self):
        """Some cards keep the size of a file whose copy was cut."""
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8))
        data = saved(noise, "JPEG")
        assert refusal(data[: len(data) // 2] + bytes(len(data) // 2)).code == Fault.TRUNCATED

    def test_bytes_after_the_end_are_no_fault(self):
        for kind in ("JPEG", "PNG"):
            assert_quarters(open_picture(saved(quarters(), kind) + bytes(5000)).image)

    @pytest.mark.parametrize("width", [2, 3])
    def test_too_small(self, width):
        error = refusal(saved(Image.new("RGB", (width, 500)), "PNG"))
        assert error.code == Fault.TOO_SMALL
        assert f"{width} × 500" in error.message

    @pytest.mark.parametrize("sides", [(20_000, 20_000), (10_001, 10_000), (1, 2**31 - 1)])
    def test_too_many_pixels_is_seen_in_the_header(self, sides):
        header = bomb(*sides)
        tracemalloc.start()
        error = refusal(header)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert error.code == Fault.TOO_MANY_PIXELS
        assert "100 megapixels" in error.message
        assert peak < 5_000_000

    def test_the_limit_is_the_callers(self):
        data = saved(quarters(), "PNG")
        assert refusal(data, max_pixels=WIDTH * HEIGHT - 1).code == Fault.TOO_MANY_PIXELS
        assert open_picture(data, max_pixels=WIDTH * HEIGHT).image.size == (WIDTH, HEIGHT)

    @pytest.mark.parametrize("as_stream", [False, True])
    def test_too_many_bytes(self, as_stream):
        data = saved(quarters(), "BMP")
        source = io.BytesIO(data) if as_stream else data
        assert refusal(source, max_bytes=1000).code == Fault.TOO_LARGE

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM"])
    def test_any_damage_gives_a_picture_or_a_refusal_by_name(self, kind):
        original = saved(quarters(), kind)
        rng = np.random.default_rng(7)
        codes, unread = set(), (Fault.NOT_AN_IMAGE, Fault.UNSUPPORTED_FORMAT)
        for _ in range(60):
            data = bytearray(original)
            for at in rng.integers(0, len(data), 8):
                data[at] = rng.integers(0, 256)
            try:
                assert open_picture(bytes(data), max_pixels=1_000_000).image.mode == "RGB"
            except PictureError as error:
                codes.add(error.code)
        assert codes <= {Fault.TRUNCATED, Fault.DAMAGED, Fault.TOO_MANY_PIXELS, Fault.TOO_SMALL, *unread}


def bomb(width, height) -> bytes:
    """A PNG that announces more than it holds."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", len(header))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + bytes.fromhex("0000000049454e44ae426082")
    )


class TestCopies:
    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            ((4000, 3000), (341, 256)),
            ((3000, 4000), (256, 341)),
            ((200, 100), (200, 100)),
            ((257, 257), (256, 256)),
            ((50_000, 4), (2048, 1)),
            ((4, 50_000), (1, 2048)),
            ((5000, 300), (2048, 123)),
        ],
    )
    def test_working_copy(self, size, expected):
        assert working_copy(Image.new("RGB", size)).size == expected

    def test_fit_within(self):
        assert fit_within(Image.new("RGB", (3200, 800)), 1600).size == (1600, 400)
        assert fit_within(Image.new("RGB", (100, 80)), 1600).size == (100, 80)
        assert fit_within(Image.new("RGB", (9000, 4)), 1600).size == (1600, 1)

    @pytest.mark.parametrize(("target", "bound"), [(256, None), (1, 1600), (256, 1600), (5000, None)])
    def test_a_reduced_decode_keeps_what_was_asked_for(self, target, bound):
        data = saved(quarters(2400, 1600), "JPEG")
        picture = open_picture(data, target=target, bound=bound)
        assert (picture.width, picture.height) == (2400, 1600)
        assert min(picture.image.size) >= min(target, 1600)
        assert max(picture.image.size) >= min(bound or 0, 2400)
        assert_quarters(picture.image)

    def test_a_reduced_decode_gives_the_same_working_copy(self):
        data = saved(quarters(2400, 1600), "JPEG", quality=95)
        whole = np.asarray(working_copy(open_picture(data).image)).astype(int)
        reduced = np.asarray(working_copy(open_picture(data, target=256).image)).astype(int)
        assert np.abs(whole - reduced).mean() < 1.0


class TestThreads:
    def test_many_threads_with_odd_files_let_no_warning_out(self):
        data = saved(
            quarters(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\xff\xff\xff\x7f\x1a\0\0\0"
        )
        tags = ImageFileDirectory_v2()
        tags[270] = "x" * 50
        tiff = saved(quarters(), "TIFF", tiffinfo=tags)
        failures = []

        def decode():
            try:
                for _ in range(20):
                    assert_quarters(open_picture(data).image)
                    assert_quarters(open_picture(tiff).image)
            except BaseException as error:
                failures.append(error)

        filters = list(warnings.filters)
        threads = [threading.Thread(target=decode) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert warnings.filters == filters
