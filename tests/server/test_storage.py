"""Image files: whole or not at all, the original never shown, copies made again when lost."""

import errno
import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from model.images import open_picture
from server.errors import StorageFull
from server.storage import ImageStore, sync, write_atomically


def jpeg(width, height, **options) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(buffer, "JPEG", **options)
    return buffer.getvalue()


def add(store, data) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    store.add(sha256, data, open_picture(data))
    store.make_durable([sha256])
    return sha256


def decoded(data) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "images")


def files_of(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


class TestCopies:
    def test_the_original_is_kept_as_it_came(self, store):
        data = jpeg(300, 200, comment=b"at home")
        assert store.original(add(store, data)) == data

    def test_a_large_picture_has_a_working_copy_and_a_display_copy(self, store):
        sha256 = add(store, jpeg(3200, 2400))
        assert decoded(store.working(sha256)).size == (341, 256)
        assert decoded(store.thumbnail(sha256)).size == (341, 256)
        assert decoded(store.display(sha256)).size == (1600, 1200)

    @pytest.mark.parametrize("size", [(120, 80), (640, 480)])
    def test_the_network_reads_a_picture_that_is_not_large_as_it_came(self, store, size):
        data = jpeg(*size)
        assert store.working(add(store, data)) == data

    @pytest.mark.parametrize("size", [(120, 80), (3200, 2400)])
    def test_a_browser_never_gets_original_bytes(self, store, size):
        data = jpeg(*size, comment=b"<script>")
        sha256 = add(store, data)
        for copy in (store.thumbnail(sha256), store.display(sha256)):
            assert copy != data
            assert b"<script>" not in copy
            assert decoded(copy).format == "JPEG"

    def test_no_side_becomes_zero(self, store):
        sha256 = add(store, jpeg(8000, 4))
        for copy in (store.thumbnail(sha256), store.display(sha256)):
            assert min(decoded(copy).size) >= 1

    @pytest.mark.parametrize("kind", ["working", "display", "thumbnail"])
    @pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
    def test_lost_and_emptied_copies_are_made_again(self, store, tmp_path, kind, harm):
        sha256 = add(store, jpeg(3200, 2400))
        before = (store.thumbnail(sha256), store.display(sha256))
        for path in files_of(tmp_path / "images"):
            if kind in path.parts:
                harm(path)
        thumbnail, display = store.thumbnail(sha256), store.display(sha256)
        assert display == before[1]
        assert decoded(thumbnail).size == decoded(before[0]).size

    @pytest.mark.parametrize("left", [b"", b"half"])
    def test_an_original_that_a_power_cut_left_incomplete_is_written_again(self, store, tmp_path, left):
        data = jpeg(120, 80)
        sha256 = add(store, data)
        (path,) = files_of(tmp_path)
        path.write_bytes(left)
        add(store, data)
        assert store.original(sha256) == data

    def test_adding_twice_stores_once(self, store, tmp_path):
        data = jpeg(3200, 2400)
        add(store, data)
        count = len(files_of(tmp_path))
        add(store, data)
        assert len(files_of(tmp_path)) == count

    def test_many_at_once_leave_whole_files_only(self, store, tmp_path):
        data = jpeg(800, 600)
        with ThreadPoolExecutor(8) as pool:
            (sha256,) = set(pool.map(lambda _: add(store, data), range(24)))
            displays = set(pool.map(lambda _: store.display(sha256), range(24)))
        assert len(displays) == 1
        assert store.original(sha256) == data
        assert not [path for path in files_of(tmp_path) if path.name.startswith(".")]

    @pytest.mark.parametrize("name", ["../../etc/passwd", "a" * 63, "A" * 64, "g" * 64, ""])
    def test_only_a_hash_becomes_a_path(self, store, name):
        with pytest.raises(ValueError, match="sha256"):
            store.original(name)


class TestWriteAtomically:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_a_full_disk_leaves_nothing_and_says_what_to_do(self, tmp_path, number):
        def fill(descriptor):
            os.write(descriptor, b"half")
            raise OSError(number, "no room")

        with pytest.raises(StorageFull) as caught:
            write_atomically(tmp_path / "a" / "b", fill)
        assert "full" in caught.value.message
        assert files_of(tmp_path) == []

    def test_a_really_full_disk(self, tmp_path):
        with pytest.raises(StorageFull), open("/dev/full", "wb", buffering=0) as full:
            write_atomically(tmp_path / "a", lambda _: full.write(b"x"))
        assert files_of(tmp_path) == []

    def test_another_failure_leaves_nothing_either(self, tmp_path):
        def fail(descriptor):
            os.write(descriptor, b"half")
            raise RuntimeError

        with pytest.raises(RuntimeError):
            write_atomically(tmp_path / "a", fail)
        assert files_of(tmp_path) == []

    def test_an_old_file_stays_until_the_new_one_is_whole(self, tmp_path):
        path = tmp_path / "a"
        path.write_bytes(b"old")
        seen = []

        def write(descriptor):
            seen.append(path.read_bytes())
            os.write(descriptor, b"new")

        write_atomically(path, write)
        assert seen == [b"old"]
        assert path.read_bytes() == b"new"


def test_sync_of_a_file_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        sync([tmp_path / "a"])
