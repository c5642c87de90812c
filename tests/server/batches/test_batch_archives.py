"""Zip files from outside: refused by their directory, read in bounds, named as their author wrote them."""

import io
import struct
import zipfile
import zlib

import pytest
from uploading import pack

from server.batches.archives import ArchiveError, Limits, is_archive, list_members, opened, read_member

LIMITS = Limits(members=100, member_bytes=1_000_000)


def names(data, limits=LIMITS):
    with opened(io.BytesIO(data), limits) as archive:
        return [member.name for member in list_members(archive, limits)]


def code(data, limits=LIMITS):
    with pytest.raises(ArchiveError) as caught:
        names(data, limits)
    assert caught.value.message
    return caught.value.code


def read(data, limits=LIMITS):
    """Bytes or code of each member."""
    found = {}
    with opened(io.BytesIO(data), limits) as archive:
        for member in list_members(archive, limits):
            try:
                found[member.name] = read_member(archive, member, limits)
            except ArchiveError as error:
                found[member.name] = error.code
    return found


class TestDirectory:
    def test_names_that_lead_out_lead_nowhere(self):
        assert names(pack({"../x.png": b"1", "/etc/y.png": b"2", "C:\\z.png": b"3"})) == [
            "x.png",
            "etc/y.png",
            "z.png",
        ]

    def test_ten_folders_deep(self):
        deep = "/".join(f"folder {number}" for number in range(10)) + "/a.png"
        assert names(pack({deep: b"1"})) == [deep]

    def test_the_same_name_twice(self):
        with pytest.warns(UserWarning, match="Duplicate name"):
            data = pack([("a.png", b"1"), ("a.png", b"2")])
        assert names(data) == ["a.png", "a.png"]

    def test_folders_alone_are_nothing(self):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.mkdir("empty")
            archive.writestr(zipfile.ZipInfo("windows\\"), b"")
        assert code(buffer.getvalue()) == "no-images"

    def test_clutter_alone_is_nothing(self):
        assert code(pack({"__MACOSX/._a.png": b"1", ".DS_Store": b"2"})) == "no-images"

    @pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
    def test_cut(self, share):
        data = pack({f"{number}.png": bytes(1000) for number in range(5)})
        assert code(data[: int(len(data) * share)]) == "not-a-zip"

    def test_too_many_files(self):
        assert code(pack({f"{n}.png": b"" for n in range(6)}), Limits(5, 1000)) == "too-many-files"

    @pytest.mark.parametrize("said", [1, 65_535])
    def test_a_directory_without_end_is_not_parsed_whatever_it_says_of_itself(self, monkeypatch, said):
        data = bytearray(pack({f"{n}.png": b"" for n in range(31)}))
        end = data.rindex(b"PK\x05\x06")
        data[end + 8 : end + 12] = struct.pack("<HH", said, said)
        made = []
        monkeypatch.setattr(zipfile, "ZipFile", made.append)
        assert code(bytes(data), Limits(10, 1000)) == "too-many-files"
        assert made == []

    def test_so_is_one_of_endless_names(self):
        assert code(pack({"x" * 60_000 + ".png": b""}), Limits(10, 1000)) == "too-many-files"

    def test_a_directory_of_64_bits_is_counted_too(self, monkeypatch):
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
        data = pack({f"{n}.png": b"" for n in range(31)})
        assert b"PK\x06\x06" in data
        assert len(names(data, Limits(31, 1000))) == 31
        assert code(data, Limits(10, 1000)) == "too-many-files"

    def test_clutter_and_folders_take_no_files_place(self):
        pictures = {f"set/{n}.png": b"1" for n in range(5)}
        companions = {f"__MACOSX/set/._{n}.png": b"2" for n in range(5)}
        assert len(names(pack({"set/": b"", **pictures, **companions}), Limits(5, 1000))) == 5

    def test_a_bomb_by_ratio(self):
        # Two gigabytes in a few kilobytes: the directory says so before a byte is unpacked.
        data = bytearray(pack({"a.png": bytes(100_000)}))
        at = data.rindex(b"PK\x01\x02")
        data[at + 24 : at + 28] = struct.pack("<L", 2 * 1024**3)
        assert code(bytes(data)) == "unpacks-too-large"

    def test_large_but_honest_is_no_bomb(self):
        assert names(pack({"a.bmp": bytes(900_000)})) == ["a.bmp"]


class TestNames:
    def with_raw_name(self, raw, extra=b""):
        """A zip whose name bytes are ``raw`` and whose UTF-8 flag is not set."""
        info = zipfile.ZipInfo("n" * len(raw))
        info.extra = extra
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(info, b"1")
        return buffer.getvalue().replace(b"n" * len(raw), raw)

    def test_code_page_437(self):
        assert names(self.with_raw_name("Müller.png".encode("cp437"))) == ["Müller.png"]

    def test_utf8_without_its_flag(self):
        assert names(self.with_raw_name("Müller 猫.png".encode())) == ["Müller 猫.png"]

    def test_the_unicode_path_field(self):
        raw = "M_ller.png".encode("cp437")
        name = "Mueller 猫.png".encode()
        field = struct.pack("<BL", 1, zlib.crc32(raw)) + name
        extra = struct.pack("<HH", 0x7075, len(field)) + field
        assert names(self.with_raw_name(raw, extra)) == ["Mueller 猫.png"]

    def test_a_unicode_path_field_of_another_name_is_not_believed(self):
        field = struct.pack("<BL", 1, 12345) + b"evil.png"
        extra = struct.pack("<HH", 0x7075, len(field)) + field
        assert names(self.with_raw_name(b"good.png", extra)) == ["good.png"]


class TestMembers:
    def test_one_harmed_member_leaves_the_others(self):
        data = bytearray(pack({"a.png": b"A" * 50, "b.png": bytes(range(256)), "c.png": b"C" * 50}))
        start = data.index(b"b.png") + 5
        data[start + 10] ^= 0xFF
        found = read(bytes(data))
        assert found["b.png"] == "truncated"
        assert (found["a.png"], found["c.png"]) == (b"A" * 50, b"C" * 50)

    def test_archives_inside_are_named(self):
        inner = pack({"x.png": b"1"})
        found = read(
            pack({"in.zip": inner, "disguised.png": inner, "x.rar": b"Rar!\x1a\x07\0", "x.gz": b"\x1f\x8b"})
        )
        assert set(found.values()) == {"nested-archive"}

    def test_too_large(self):
        found = read(pack({"a.bmp": bytes(2000), "b.png": b"ok"}), Limits(10, 1000))
        assert found == {"a.bmp": "too-large", "b.png": b"ok"}

    def test_a_member_larger_than_it_says_is_not_read_on(self):
        data = bytearray(pack({"a.png": bytes(500_000)}))
        at = data.rindex(b"PK\x01\x02")
        data[at + 24 : at + 28] = struct.pack("<L", 1000)
        assert read(bytes(data)) == {"a.png": "truncated"}

    def test_locked_members_among_open_ones(self):
        data = bytearray(pack({"a.png": b"A", "b.png": b"B"}))
        at = data.rindex(b"PK\x01\x02")
        data[at + 8] |= 1
        found = read(bytes(data))
        assert found == {"a.png": b"A", "b.png": "encrypted"}

    def test_a_method_that_is_not_read(self):
        data = bytearray(pack({"a.png": b"A" * 100, "b.png": b"B"}))
        at = data.index(b"PK\x01\x02")
        data[at + 10 : at + 12] = struct.pack("<H", 9)
        assert read(bytes(data))["a.png"] == "unsupported-compression"

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_other_methods_are_read(self, method):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr("a.png", b"A" * 1000)
        assert read(buffer.getvalue()) == {"a.png": b"A" * 1000}


@pytest.mark.parametrize("data", [b"7z\xbc\xaf\x27\x1c", b"BZh9", b"\0" * 257 + b"ustar", b"Rar!\x1a\x07\1"])
def test_other_archives_are_recognised(data):
    assert is_archive(data)
