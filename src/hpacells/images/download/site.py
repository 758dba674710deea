"""Where the atlas lies, and which addresses belong to it.

Entries: ``https://www.proteinatlas.org/<ENSG>.xml``. Images: ``https://images.proteinatlas.org/
<antibody number>/<plate>_<well>_<sample>_<colour>.jpg``, the originals as ``.tif.gz``. Search:
``/api/search_download.php``. A mirror has all of it under one address.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from hpacells.core.errors import ConfigError

__all__ = ["ATLAS", "Site", "mirror_site"]

_ATLAS_HOST = re.compile(r"(www|images|v[0-9]{1,3})\.proteinatlas\.org")
_ANTIBODY_FIELDS = {"format": "json", "columns": "g,eg,ab", "compress": "no"}


@dataclass(frozen=True)
class Site:
    """The addresses of the atlas, or of a mirror.

    Parameters
    ----------
    entries
        Address of entries and of the search, without a slash at its end.
    images
        Address of images, without a slash at its end.
    """

    entries: str
    images: str

    def entry_url(self, gene: str) -> str:
        """Give the address of a gene's entry."""
        return f"{self.entries}/{gene}.xml"

    def search_url(self, word: str) -> str:
        """Give the address that lists the genes and antibodies of a word."""
        query = urlencode({"search": word, **_ANTIBODY_FIELDS})
        return f"{self.entries}/api/search_download.php?{query}"

    def image_url(self, number: str, name: str) -> str:
        """Give the address of an image file, under its antibody's number."""
        return f"{self.images}/{number}/{name}"

    def allows(self, url: str) -> bool:
        """Say whether a request may go there: the same kind of address, host and port."""
        try:
            asked = urlsplit(url)
            places = {urlsplit(base)[:2] for base in (self.entries, self.images)}
            asked.port  # noqa: B018  a number too large is told here
        except ValueError:
            return False
        return (asked.scheme, asked.netloc) in places

    def names_image(self, url: str) -> bool:
        """Say whether an image address in an entry is the atlas's (any release) or this site's."""
        try:
            host = urlsplit(url).netloc
        except ValueError:
            return False
        return _ATLAS_HOST.fullmatch(host) is not None or self.allows(url)


ATLAS = Site("https://www.proteinatlas.org", "https://images.proteinatlas.org")


def mirror_site(url: str) -> Site:
    """Give a mirror that has entries and images under one address.

    Raises
    ------
    ConfigError
        The address is not ``http(s)://host…``.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        raise ConfigError(f"--mirror: expected an address as https://host/path, got {url!r}.")
    base = url.rstrip("/")
    return Site(base, base)
