"""Published weights: fetched once, by checksum, and never silently another file."""

import hashlib
import io
import zipfile

import pytest

from hpacells.core.errors import ModelError
from hpacells.runtime.cache import cache_folder
from hpacells.runtime.published_weights import (
    PublishedFile,
    PublishedWeights,
    install_weights,
    missing_files,
    remove_weights,
    verify_weights,
)

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HPACELLS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make(content=CONTENT, *, sha256=SHA256, member=None):
    """Weights of one file, and what opens its address; opened addresses are listed."""
    file = PublishedFile("a.pt", "https://example.org/a", sha256, member)
    weights = PublishedWeights("w", "The weights", "CC-BY-4.0", "Cite them.", (file,))
    opened = []

    def opener(url, headers):
        opened.append(url)
        return io.BytesIO(content)

    return weights, opener, opened


def kept(cache):
    """Files in the cache; the lock is none of them."""
    return [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def no_network(url, headers):
    raise OSError("Network is unreachable")


def zipped(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_fetched_once_and_the_licence_is_told_before(cache):
    weights, opener, opened = make()
    told = []
    paths = install_weights(
        weights, tell=lambda line: told.append((line, len(opened))), opener=opener
    )
    assert paths == {"a.pt": cache / "w" / "a.pt"}
    assert paths["a.pt"].read_bytes() == CONTENT
    assert told[0] == ("The weights. Licence: CC-BY-4.0. Cite them.", 0)
    assert told[1][0].startswith(f"1 file(s) go to {cache / 'w'}, each checked against the sha256")
    assert told[2] == ("fetching https://example.org/a", 0)
    again = install_weights(weights, tell=pytest.fail, opener=opener)
    assert again == paths
    assert opened == ["https://example.org/a"]


def test_another_file_is_refused_and_not_kept(cache):
    weights, opener, _ = make(b"something else")
    with pytest.raises(ModelError, match=f"expected sha256 {SHA256} .*, got .* was not kept"):
        install_weights(weights, tell=str, opener=opener)
    assert kept(cache) == []


class Response(io.BytesIO):
    """What urllib gives: a body, the address it came from in the end, and headers."""

    def __init__(self, content, *, url="https://example.org/a", length=None):
        super().__init__(content)
        self.url = url
        self.headers = {} if length is None else {"Content-Length": str(length)}


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_a_body_that_ends_early_is_refused_and_nothing_is_noted(cache, sha256):
    weights, _, _ = make(sha256=sha256)
    short = Response(CONTENT[:100], length=len(CONTENT))
    with pytest.raises(ModelError, match=r"expected 7000 bytes, got 100: .*by hand"):
        install_weights(weights, tell=str, opener=lambda url, headers: short)
    assert kept(cache) == []
    whole = Response(CONTENT, length=len(CONTENT))
    assert install_weights(weights, tell=str, opener=lambda url, headers: whole)


def test_a_secure_address_must_not_lead_to_an_insecure_one(cache):
    weights, _, _ = make(sha256=None)
    with pytest.raises(ModelError, match=r"leads to http://example\.org/b, expected another https"):
        install_weights(
            weights,
            tell=str,
            opener=lambda url, headers: Response(CONTENT, url="http://example.org/b"),
        )
    assert kept(cache) == []
    other = Response(CONTENT, url="https://cdn.example.org/b")
    assert install_weights(weights, tell=str, opener=lambda url, headers: other)


def test_without_a_network_it_says_what_to_do_by_hand(cache):
    weights, _, _ = make()
    with pytest.raises(ModelError) as caught:
        install_weights(weights, tell=str, opener=no_network)
    for words in ("https://example.org/a", SHA256, str(cache / "w" / "a.pt"), "by hand"):
        assert words in str(caught.value)


def test_a_file_put_there_by_hand_counts(cache):
    weights, _, _ = make()
    (cache / "w").mkdir(parents=True)
    (cache / "w" / "a.pt").write_bytes(CONTENT)
    assert missing_files(weights) == []
    assert install_weights(weights, tell=pytest.fail, opener=no_network)
    (cache / "w" / "a.pt").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="models remove w"):
        install_weights(weights, tell=pytest.fail, opener=no_network)


def test_without_a_published_checksum_the_first_sight_counts(cache):
    weights, opener, _ = make(sha256=None)
    install_weights(weights, tell=str, opener=opener)
    assert (cache / "w" / "a.pt.sha256").read_text() == f"{SHA256}\n"
    assert verify_weights(weights)
    (cache / "w" / "a.pt").write_bytes(b"changed since")
    with pytest.raises(ModelError, match=f"expected sha256 {SHA256}"):
        verify_weights(weights)


def test_the_first_sight_outlives_a_file_deleted_by_hand_but_not_its_removal(cache):
    weights, opener, _ = make(sha256=None)
    _, open_other, _ = make(b"another version", sha256=None)
    path = install_weights(weights, tell=str, opener=opener)["a.pt"]
    path.unlink()
    with pytest.raises(ModelError, match=f"expected sha256 {SHA256} .*was not kept"):
        install_weights(weights, tell=str, opener=open_other)
    assert not path.exists()
    remove_weights(weights)
    assert install_weights(weights, tell=str, opener=open_other)


def test_what_a_file_is_checked_against_is_said_as_it_is(caplog):
    published, unknown = make()[0].files[0], make(sha256=None)[0].files[0]
    found = PublishedFile("a.pt", "https://example.org/a", SHA256, sha256_source="others")
    assert published.checked_against == "the sha256 known from its publisher"
    assert found.checked_against == "the sha256 known from others"
    assert "first sight" in unknown.checked_against
    weights, opener, _ = make(sha256=None)
    install_weights(weights, opener=opener)
    assert unknown.checked_against in caplog.text


def test_by_hand_without_a_published_checksum_is_noted_too(cache):
    weights, _, _ = make(sha256=None)
    (cache / "w").mkdir(parents=True)
    (cache / "w" / "a.pt").write_bytes(CONTENT)
    verify_weights(weights)
    assert (cache / "w" / "a.pt.sha256").is_file()


def test_a_member_is_taken_out_of_an_archive():
    content = zipped(**{"m/a.pt": CONTENT, "m/../../evil": b"no"})
    weights, opener, _ = make(content, member="m/a.pt")
    paths = install_weights(weights, tell=str, opener=opener)
    assert paths["a.pt"].read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"no archive", zipped(other=b"x")])
def test_an_archive_that_is_none_or_lacks_the_member_is_refused(cache, content):
    weights, opener, _ = make(content, member="m/a.pt")
    with pytest.raises(ModelError, match=r"take m/a\.pt out of"):
        install_weights(weights, tell=str, opener=opener)
    assert missing_files(weights)


def test_an_archive_that_unpacks_without_end_is_refused_unread(cache, monkeypatch):
    monkeypatch.setattr("hpacells.runtime.published_weights._MAX_MEMBER_BYTES", len(CONTENT) - 1)
    weights, opener, _ = make(zipped(**{"a.pt": CONTENT}), member="a.pt", sha256=None)
    with pytest.raises(ModelError, match="unpacks to more than"):
        install_weights(weights, tell=str, opener=opener)
    assert kept(cache) == []


def damaged(kind):
    """An archive whose only member cannot be unpacked."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.pt", CONTENT)
    content = bytearray(stream.getvalue())
    listed = content.index(b"PK\x01\x02")
    if kind == "bits":  # no block of a deflated stream begins like this
        content[30 + len("a.pt")] = 0xFF
    elif kind == "encrypted":
        content[6] |= 1
        content[listed + 8] |= 1
    else:
        content[8:10] = content[listed + 10 : listed + 12] = (97).to_bytes(2, "little")
    return bytes(content)


@pytest.mark.parametrize("kind", ["bits", "encrypted", "compression"])
def test_a_member_that_cannot_be_unpacked_is_refused(cache, kind):
    weights, opener, _ = make(damaged(kind), member="a.pt", sha256=None)
    with pytest.raises(ModelError, match=r"cannot be fetched .* take a\.pt out of"):
        install_weights(weights, tell=str, opener=opener)
    assert kept(cache) == []


def test_removal_takes_what_was_written_beside_a_file_and_nothing_else(cache):
    weights, opener, _ = make()
    install_weights(weights, tell=str, opener=opener)
    (cache / "w" / "a.rdf.yaml").write_text("weights: a.pt\n")
    (cache / "w" / "mine.txt").write_text("kept")
    assert remove_weights(weights) == 1
    assert [path.name for path in (cache / "w").iterdir()] == ["mine.txt"]
    (cache / "w" / "mine.txt").unlink()
    install_weights(weights, tell=str, opener=opener)
    remove_weights(weights)
    assert not (cache / "w").exists()


def test_missing_weights_do_not_verify_and_removed_ones_are_gone():
    weights, opener, _ = make(sha256=None)
    with pytest.raises(
        ModelError, match=r"no such file\. Fetch it with 'hpacells models install w'"
    ):
        verify_weights(weights)
    install_weights(weights, tell=str, opener=opener)
    assert remove_weights(weights) == 1
    assert remove_weights(weights) == 0
    assert missing_files(weights) == list(weights.files)


def test_by_default_the_licence_is_logged_as_a_warning(caplog):
    weights, opener, _ = make()
    install_weights(weights, opener=opener)
    assert "Licence: CC-BY-4.0" in caplog.text


def test_a_file_address_opens_by_default(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    file = PublishedFile("a.pt", (tmp_path / "a").as_uri(), SHA256)
    weights = PublishedWeights("w", "t", "l", "n", (file,))
    assert install_weights(weights, tell=str)["a.pt"].read_bytes() == CONTENT


def test_where_the_cache_is(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("HPACELLS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "hpacells"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().parts[-2:] == (".cache", "hpacells")
