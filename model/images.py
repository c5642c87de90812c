"""How bytes become a picture: upright, sRGB, 8 bit, flattened on white. The only definition of it.

What people see in a browser and what the network gets both start from :func:`open_picture`, so they
cannot differ in orientation, colour or transparency. Content decides about the format, never a name.
Pillow, pillow-heif and numpy only; this module loads no torch and changes no global state of Pillow.
"""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pillow_heif
from numpy.typing import NDArray

# Importing a plugin registers its format; without these Pillow would load all of its forty plugins.
from PIL import (
    AvifImagePlugin,  # noqa: F401
    BmpImagePlugin,  # noqa: F401
    ExifTags,
    GifImagePlugin,  # noqa: F401
    Image,
    ImageCms,
    Jpeg2KImagePlugin,  # noqa: F401
    JpegImagePlugin,  # noqa: F401
    MpoImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

MIB = 1024 * 1024
MAX_PIXELS = 100_000_000
MAX_BYTES = 256 * MIB
LARGE_PIXELS = 25_000_000
# Below this nothing can be told apart, by a person or by the network.
MIN_SIDE = 4
WORKING_SIDE = 256
# A working copy of a strip stays bounded too: 256 x 2048 pixels at most.
WORKING_LONG_SIDE = 2048

EXTRA_FRAMES = "extra-frames"

# TIFF tags and values (TIFF 6.0, section 8; DNG 1.7)
SUBFILE_TYPE, SUB_DIRECTORIES, DNG_VERSION = 254, 330, 50706
PHOTOMETRIC_INTERPRETATION, WHITE_IS_ZERO = 262, 0


class Fault(StrEnum):
    """Why a file gives no picture."""

    EMPTY_FILE = "empty-file"
    NOT_AN_IMAGE = "not-an-image"
    UNSUPPORTED_FORMAT = "unsupported-format"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    TOO_MANY_PIXELS = "too-many-pixels"
    TOO_LARGE = "too-large"
    TOO_SMALL = "too-small"


class PictureError(Exception):
    """These bytes give no picture. ``code`` is one of :class:`Fault`; ``message`` names the mend."""

    def __init__(self, code: Fault, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    ``image`` is RGB, 8 bit, upright and without metadata. It may be smaller than ``width`` x ``height``,
    the upright size of the file, if a reduced decode was asked for. ``notes`` are codes of what a person
    should know, such as ``extra-frames``.
    """

    image: Image.Image
    width: int
    height: int
    media_type: str
    notes: tuple[str, ...] = ()


def open_picture(
    source: bytes | Path | BinaryIO,
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    target: int | None = None,
    bound: int | None = None,
) -> Picture:
    """Decode ``source`` to an upright sRGB picture on white.

    With ``target`` a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as its short side keeps at
    least ``target`` pixels and, with ``bound``, its long side at least ``bound``: several times faster
    where the exact pixels are not needed. Raises :class:`PictureError`.
    """
    data = _read(source, max_bytes)
    kind = _recognise(data)
    try:
        return _decode(data, kind, max_pixels, target, bound)
    except (PictureError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(None, max_pixels) from error
    except Exception as error:  # a decoder fed with foreign bytes may raise anything
        raise _unreadable(data, kind, error) from error


def working_copy(image: Image.Image) -> Image.Image:
    """The picture that the network works on: short side at most 256 pixels, long side at most 2048.

    Never enlarges; no side becomes 0.
    """
    shrink = min(1.0, WORKING_SIDE / min(image.size), WORKING_LONG_SIDE / max(image.size))
    return _resized(image, shrink)


def fit_within(image: Image.Image, side: int) -> Image.Image:
    """The picture scaled down, if need be, to fit into ``side`` x ``side`` pixels."""
    return _resized(image, min(1.0, side / max(image.size)))


def encode_jpeg(image: Image.Image, quality: int = 92) -> bytes:
    """JPEG of an RGB picture without any metadata; colour at full resolution from quality 90 on."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2)
    return buffer.getvalue()


def _resized(image: Image.Image, shrink: float) -> Image.Image:
    if shrink >= 1.0:
        return image
    width, height = (max(1, round(side * shrink)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)


# --- bytes and formats ---------------------------------------------------------------------------------


def _read(source: bytes | Path | BinaryIO, max_bytes: int) -> bytes:
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, Path):
        with source.open("rb") as file:
            data = file.read(max_bytes + 1)
    else:
        data = source.read(max_bytes + 1)
    if not data:
        raise PictureError(Fault.EMPTY_FILE, "The file is empty. Copy it again from its source.")
    if len(data) > max_bytes:
        raise PictureError(
            Fault.TOO_LARGE,
            f"The file has more than {max_bytes // MIB} MiB. Save it as JPEG, or cut it into parts.",
        )
    return data


_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"P4", "PPM"),
    (b"P5", "PPM"),
    (b"P6", "PPM"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
)

_AS_PICTURE = "Save the picture as JPEG, PNG, WebP or TIFF."
_KNOWN_BUT_REFUSED = (
    (b"%PDF", f"A PDF document. {_AS_PICTURE}"),
    (b"8BPS", f"A Photoshop document. {_AS_PICTURE}"),
    (b"%!PS", f"A PostScript document. {_AS_PICTURE}"),
    (b"\0\0\1\0", f"An icon file. {_AS_PICTURE}"),
    (b"FUJIFILMCCD-RAW", f"A camera's raw file. {_AS_PICTURE}"),
    (b"IIRO", f"A camera's raw file. {_AS_PICTURE}"),
    (b"IIU\0", f"A camera's raw file. {_AS_PICTURE}"),
    (b"\xff\x0a", f"A JPEG XL file. {_AS_PICTURE}"),
    (b"\0\0\0\x0cJXL ", f"A JPEG XL file. {_AS_PICTURE}"),
)


def _recognise(data: bytes) -> str:
    """The format by content: Pillow's name of it. Raises :class:`PictureError` for anything else."""
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _iso_media_kind(data)
    for signature, message in _KNOWN_BUT_REFUSED:
        if data.startswith(signature):
            raise PictureError(Fault.UNSUPPORTED_FORMAT, message)
    text = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<") and b"<svg" in text:
        raise PictureError(Fault.UNSUPPORTED_FORMAT, f"SVG files can carry scripts. {_AS_PICTURE}")
    if text.startswith((b"<!doctype html", b"<html")):
        raise PictureError(
            Fault.NOT_AN_IMAGE,
            "A web page, not a picture. Download the picture itself, logged in if need be.",
        )
    raise PictureError(Fault.NOT_AN_IMAGE, f"Not a picture that can be read. {_AS_PICTURE}")


def _iso_media_kind(data: bytes) -> str:
    length = int.from_bytes(data[:4], "big")
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, min(length, 256), 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    if brands & _HEIF_BRANDS:
        return "HEIF"
    if b"crx " in brands:
        raise PictureError(Fault.UNSUPPORTED_FORMAT, f"A camera's raw file. {_AS_PICTURE}")
    raise PictureError(Fault.NOT_AN_IMAGE, "A video or sound file. Save single pictures of it as JPEG.")


def _unreadable(data: bytes, kind: str, error: Exception) -> PictureError:
    if isinstance(error, EOFError) or "truncat" in str(error).lower() or _ends_early(data, kind):
        return PictureError(
            Fault.TRUNCATED,
            "The file ends too early. Copy it again from its source; the other files are not affected.",
        )
    return PictureError(
        Fault.DAMAGED,
        f"A {kind} file that cannot be decoded. Copy it again, or open it elsewhere and re-save it.",
    )


def _ends_early(data: bytes, kind: str) -> bool:
    """Whether the format's own end is missing."""
    if kind == "JPEG":
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda") or b"\xff\xda" not in data
    if kind == "PNG":
        return b"IEND" not in data
    if kind == "GIF":
        return not data.rstrip(b"\0").endswith(b";")
    if kind == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if kind == "BMP":
        return int.from_bytes(data[2:6], "little") > len(data)
    if kind in ("HEIF", "AVIF"):
        return _boxes_end_early(data)
    return False


def _boxes_end_early(data: bytes) -> bool:
    """Whether the last top-level box of an ISO media file reaches beyond the file."""
    at = 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16], "big")
        if length == 0:
            return False
        at += max(length, 8)
    return at != len(data)


# --- decoding ------------------------------------------------------------------------------------------

_quiet_lock = threading.Lock()
_large_lock = threading.Lock()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings about odd metadata from escaping.

    Python's warning filters belong to the process, not to a thread: the lock keeps two decoders from
    restoring each other's. Only headers are read under it, never the pixels of a photograph.
    """
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _decode(data: bytes, kind: str, max_pixels: int, target: int | None, bound: int | None) -> Picture:
    image = _open_header(data, kind)
    width, height = image.size
    _check_size(width, height, max_pixels)
    if kind == "JPEG" and target is not None:
        image.draft(None, _draft_size(width, height, target, bound))
    with _one_large_at_a_time(image.size):
        upright = _decode_pixels(image, data, kind)
    turn = _turn_of(image)
    # Counting frames moves a decoder on, so it comes after the first one has been taken.
    notes = (EXTRA_FRAMES,) if _has_more_frames(image) else ()
    upright.info = {}
    if turn is not None:
        upright = upright.transpose(turn)
        if turn in _QUARTER_TURNS:
            width, height = height, width
    media_type = "image/heic" if kind == "HEIF" else Image.MIME[kind]
    return Picture(upright, width, height, media_type, notes)


def _decode_pixels(image: Any, data: bytes, kind: str) -> Image.Image:
    """The first picture as sRGB on white, not yet turned."""
    if kind == "TIFF":
        with _quiet():  # a TIFF reads its remaining metadata while it loads
            image.load()
    else:
        image.load()
    if kind == "JPEG" and _is_padded_with_zeros(data):
        raise EOFError("the copy was cut and filled with zeros")
    picture = _to_srgb(image)
    # An RGB picture is still the decoder's own, which may move on to another frame.
    return picture.copy() if picture is image and image.format != "JPEG" else picture


@contextmanager
def _one_large_at_a_time(size: tuple[int, int]) -> Iterator[None]:
    """Bound the memory of many threads: a picture of 100 megapixels with alpha takes about 1.1 GB."""
    if size[0] * size[1] < LARGE_PIXELS:
        yield
        return
    with _large_lock:
        yield


def _open_header(data: bytes, kind: str) -> Any:
    """A lazy image: size and metadata are known, no pixel is decoded."""
    stream = io.BytesIO(data)
    with _quiet():
        if kind == "HEIF":
            # Its own class instead of `register_heif_opener`, which changes Pillow for everybody.
            return pillow_heif.HeifImageFile(stream)  # type: ignore[no-untyped-call]
        # `Image.open` would hold the size to Pillow's own global limit before we can say how large it is.
        open_format, _ = Image.OPEN[kind]
        image = open_format(stream, "")
        if kind == "TIFF":
            _take_main_page(image)
        return image


def _take_main_page(image: Any) -> None:
    """Move a TIFF to its first page that is not a thumbnail; refuse a camera's raw file.

    A raw file (DNG, NEF, CR2, ARW) is a TIFF whose first directory is a preview and whose picture lies
    in a sub-directory that Pillow does not decode: the preview must not pass for the picture.
    """
    tags = image.tag_v2
    reduced = bool(tags.get(SUBFILE_TYPE, 0) & 1)
    if DNG_VERSION in tags or (reduced and SUB_DIRECTORIES in tags):
        raise PictureError(Fault.UNSUPPORTED_FORMAT, f"A camera's raw file. {_AS_PICTURE}")
    page = 0
    while reduced and page + 1 < image.n_frames:
        page += 1
        image.seek(page)
        reduced = bool(image.tag_v2.get(SUBFILE_TYPE, 0) & 1)
    if reduced:
        image.seek(0)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise _too_many_pixels(width * height, max_pixels)
    if min(width, height) < MIN_SIDE:
        raise PictureError(
            Fault.TOO_SMALL,
            f"{width} × {height} pixels show nothing; each side needs at least {MIN_SIDE}. "
            "Upload the picture itself.",
        )


def _too_many_pixels(pixels: int | None, max_pixels: int) -> PictureError:
    found = f"{pixels / 1e6:,.0f} megapixels" if pixels else "Too many pixels"
    return PictureError(
        Fault.TOO_MANY_PIXELS,
        f"{found}; at most {max_pixels / 1e6:,.0f} megapixels are read. Scale it down or cut it into parts.",
    )


def _draft_size(width: int, height: int, target: int, bound: int | None) -> tuple[int, int]:
    """The smallest size that a reduced decode may have, same aspect."""
    keep = max(target / min(width, height), (bound or 0) / max(width, height))
    return max(1, round(width * keep)), max(1, round(height * keep))


def _is_padded_with_zeros(data: bytes) -> bool:
    """A copy that was cut keeps its size on some cards: libjpeg then decodes the zeros as grey."""
    return data.endswith(bytes(64)) and _ends_early(data, "JPEG")


def _has_more_frames(image: Any) -> bool:
    try:
        with _quiet():
            return int(getattr(image, "n_frames", 1)) > 1
    except Exception:  # later frames are damaged; the first one has been decoded and stands
        return True


_Turn = Image.Transpose
_TURNS = {
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}
_QUARTER_TURNS = {_Turn.TRANSPOSE, _Turn.ROTATE_270, _Turn.TRANSVERSE, _Turn.ROTATE_90}


def _turn_of(image: Any) -> Image.Transpose | None:
    """The turn that EXIF asks for; none if EXIF is absent or damaged."""
    try:
        with _quiet():
            return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # damaged metadata is dropped, the picture is kept
        return None


# --- colour --------------------------------------------------------------------------------------------


def _to_srgb(image: Any) -> Image.Image:
    profile = image.info.get("icc_profile")
    colour, alpha = _split_alpha(_to_8_bit(image))
    rgb = _colour_to_srgb(colour, profile)
    if alpha is None:
        return rgb
    white = Image.new("RGB", rgb.size, "white")
    white.paste(rgb, mask=alpha)
    return white


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Grey with more than 8 bits scaled to 8; nothing is clipped. Other modes as they are.

    16 bit keeps its full range, so that pictures of one camera stay comparable. 32-bit integers and floats
    have no agreed white: floats within 0 … 1 are taken as such, all else is stretched between its extremes.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode.startswith("I;16") or (image.format == "PPM" and image.mode == "I"):
        scaled = (values >> 8).astype(np.uint8)
    else:
        scaled = _stretched(values)
    if getattr(image, "tag_v2", {}).get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
        scaled = 255 - scaled
    grey = Image.fromarray(scaled)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _stretched(values: NDArray[Any]) -> NDArray[np.uint8]:
    values = values.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = float(values[finite].min()), float(values[finite].max())
    if low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    span = (high - low) or 1.0
    shares = (np.where(finite, values, low) - low) / span
    scaled: NDArray[np.uint8] = np.rint(shares * 255).astype(np.uint8)
    return scaled


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colour in one of L, RGB, CMYK, LAB, and the alpha channel if there is any."""
    if image.has_transparency_data:
        grey = image.mode in ("1", "L", "LA", "La")
        mode = "LA" if grey else "RGBA"
        layered = image if image.mode == mode else image.convert(mode)
        return layered.convert("L" if grey else "RGB"), layered.getchannel("A")
    if image.mode in ("L", "RGB", "CMYK", "LAB"):
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def _colour_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    transform = _lab_to_srgb() if image.mode == "LAB" else _profile_to_srgb(profile, image.mode)
    if transform is not None:
        converted = ImageCms.applyTransform(image, transform)
        if converted is not None:
            return converted
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=32)
def _profile_to_srgb(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform from a profile to sRGB; none for no profile, sRGB itself, and damaged or foreign ones."""
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "RGB" and "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        return ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


@lru_cache(maxsize=1)
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
