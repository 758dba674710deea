"""Entries of the atlas, the terms in them, and the choice of genes; no network."""

import csv
import json

import pytest
from atlas_server import composite_url, entry_xml

from hpacells.core.errors import ConfigError, InputError, TableError
from hpacells.images.download.entry import AtlasImage, parse_entry
from hpacells.images.download.selection import read_gene_table, split_words
from hpacells.images.download.site import ATLAS, mirror_site
from hpacells.images.download.table import FieldTable
from hpacells.images.labels import read_labels

GENE = "ENSG00000134057"


def entry(*urls, terms=("Cytosol",), gene=GENE):
    return entry_xml(gene, "CCNB1", [("HPA030741", [("U-2 OS", terms, urls)])])


def image(stem="1_A1_1", *, number="1", gene="ENSG1", terms=("Cytosol",), **known):
    names = {
        "gene_name": "N",
        "antibody": "HPA000001",
        "cell_line": "HeLa",
        "reliability": "enhanced",
    }
    return AtlasImage(stem=stem, number=number, gene=gene, terms=terms, **{**names, **known})


def test_images_of_human_cell_lines_with_what_is_said_of_them():
    xml = entry_xml(
        GENE,
        "CCNB1",
        [
            (
                "HPA030741",
                [
                    ("U-2 OS", ["Nucleoplasm", "cytosol"], [composite_url(30741, "457_A4_1")]),
                    ("A-431", [], [composite_url(30741, "458_H12_25_cr5b3a9c")]),
                ],
            ),
            ("CAB000115", [("HeLa", ["Cytosol"], [composite_url(115, "9_B2_3")])]),
        ],
    )
    found = parse_entry(xml, GENE, ATLAS)
    assert [(i.antibody, i.number, i.stem, i.cell_line, i.terms) for i in found.images] == [
        ("HPA030741", "30741", "457_A4_1", "U-2 OS", ("Nucleoplasm", "cytosol")),
        ("HPA030741", "30741", "458_H12_25_cr5b3a9c", "A-431", ()),
        ("CAB000115", "115", "9_B2_3", "HeLa", ("Cytosol",)),
    ]
    assert {(i.gene, i.gene_name, i.reliability) for i in found.images} == {
        (GENE, "CCNB1", "supported")
    }
    assert found.refused == ()


@pytest.mark.parametrize(
    "url",
    [
        "https://images.proteinatlas.org/30741/457_A4_1_blue_red_green.jpg",
        "http://v18.proteinatlas.org/images/30741/457_A4_1_blue_red_green.jpg",
        "http://images.proteinatlas.org/30741/457_A4_1_blue_red_green_yellow.jpg",
    ],
)
def test_addresses_of_several_releases(url):
    (found,) = parse_entry(entry(url, url), GENE, ATLAS).images
    assert (found.number, found.stem) == ("30741", "457_A4_1")


@pytest.mark.parametrize(
    "url",
    [
        "http://images.proteinatlas.org.evil.org/1/1_A1_1_blue_red_green.jpg",
        "http://evil.org/images.proteinatlas.org/1/1_A1_1_blue_red_green.jpg",
        "http://user@images.proteinatlas.org/1/1_A1_1_blue_red_green.jpg",
        "http://images.proteinatlas.org/1/../../etc/1_A1_1_blue_red_green.jpg",
        "http://images.proteinatlas.org/1/..%2F1_A1_1_blue_red_green.jpg",
        "http://images.proteinatlas.org/1/=cmd_A1_1_blue_red_green.jpg",
        "http://images.proteinatlas.org/1/1_A1_1_blue_red_green.jpg.exe",
        "http://images.proteinatlas.org/1/" + "1_" * 200 + "1_blue_red_green.jpg",
        "file:///etc/passwd",
        "http://[",
        "",
    ],
)
def test_hostile_addresses_are_refused_and_told(url):
    found = parse_entry(entry(url, composite_url(1, "1_A1_1")), GENE, ATLAS)
    assert found.refused == (url,)
    assert [i.stem for i in found.images] == ["1_A1_1"]


def bomb():
    entities = "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    return f'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">{entities}]><entry>&i;</entry>'.encode()


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (bomb(), "entities of its own"),
        (
            b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><entry>&a;</entry>',
            "entities of its own",
        ),
        (b"<html><body>Back soon<br></body></html>", "expected XML"),
        (b"", "expected XML"),
        (entry()[:400], "expected XML"),
        (b"<entry/>", "got another"),
        (entry(gene="ENSG00000000001"), "got another"),
        (b"<?xml version='1.0' encoding='no-such'?><entry/>", "expected XML"),
    ],
)
def test_what_is_no_entry_of_the_gene(xml, message):
    with pytest.raises(InputError, match=rf"{GENE}\.xml: .*{message}"):
        parse_entry(xml, GENE, ATLAS)


def test_text_becomes_one_line_and_strange_antibodies_none():
    xml = entry(composite_url(1, "1_A1_1"), terms=["  Cyto\n sol\t"]).replace(b"HPA030741", b"../x")
    (found,) = parse_entry(xml, GENE, ATLAS).images
    assert (found.terms, found.antibody) == (("Cyto sol",), "")


def test_terms_merge_into_classes(tmp_path):
    table = FieldTable(frozenset(), None)
    table.add(
        [
            image("1_A1_1", terms=("nucleoplasm", "Focal adhesion sites", "Midbody")),
            image("1_A1_2", terms=("Midbody", "Rods & Rings")),
            image("1_A1_3", terms=()),
            image("1_A1_4", terms=("Principal piece", "No staining")),
            image("1_A1_5_cr5b", terms=("Peroxisomes", "Vesicles")),
        ]
    )
    assert table.without_location == 2
    assert table.unknown_terms == {"Principal piece"}
    for stem in ("1_A1_1", "1_A1_4", "1_A1_5_cr5b"):
        for colour in ("red", "green", "blue", "yellow"):
            table.note_file(f"{stem}_{colour}")
    assert table.write(tmp_path / "train.csv") == (3, 3)
    labels = read_labels(tmp_path / "train.csv")
    assert {stem: row.class_ids for stem, row in labels.items()} == {
        "1_A1_1": (0, 9),
        "1_A1_4": (18,),
        "1_A1_5_cr5b": (17,),
    }
    known = labels["1_A1_5_cr5b"]
    assert known.metadata == {
        "gene": "ENSG1",
        "antibody": "HPA000001",
        "cell_line": "HeLa",
        "plate": "1",
        "well": "A1",
        "sample": "5",
    }
    assert known.pixel_size_um == 0.08


@pytest.mark.realdata
def test_the_merge_is_the_published_one(real_data):
    merge = json.loads((real_data / "tables" / "all_locations_merged.json").read_text())
    table = FieldTable(frozenset(), None)
    table.add(image(f"1_A1_{i}", terms=(term,)) for i, term in enumerate(merge))
    assert len(list(table.images())) == len(merge)
    assert table.unknown_terms == set()


def test_a_field_of_two_genes_is_one_row_and_of_two_antibodies_refused(tmp_path):
    table = FieldTable(frozenset(), None)
    table.add([image(gene="ENSG2", terms=("Cytosol",)), image(gene="ENSG1", terms=("Nucleoli",))])
    table.add([image(gene="ENSG2"), image(gene="ENSG3", number="7")])
    (found,) = table.images()
    assert (found.gene, found.terms) == ("ENSG2;ENSG1", ("Cytosol", "Nucleoli"))
    assert table.conflicts == ["1_A1_1 under 1 and 7"]


def test_a_limit_and_antibodies_choose_fields():
    table = FieldTable(frozenset({"HPA000002"}), 2)
    table.add([image("1_A1_1"), image("1_A1_2", antibody="HPA000002")])
    assert not table.is_full
    table.add([image(f"1_A1_{i}", antibody="hpa000002") for i in (5, 4, 3)])
    assert table.is_full
    assert [i.stem for i in table.images()] == ["1_A1_2", "1_A1_5"]


def test_incomplete_fields_have_no_row_formulas_are_text_and_old_rows_stay(tmp_path):
    path = tmp_path / "train.csv"
    for stem, line in (("1_A1_1", "=1+1"), ("1_A1_2", "HeLa")):
        table = FieldTable(frozenset(), None)
        table.add([image(stem, cell_line=line), image("1_A1_9")])
        for colour in ("red", "green", "blue", "yellow"):
            table.note_file(f"{stem}_{colour}")
        table.note_file("1_A1_9_red")
        assert table.write(path) == (2, 1)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["ID"], row["cell_line"]) for row in rows] == [
        ("1_A1_1", "'=1+1"),
        ("1_A1_2", "HeLa"),
    ]


def test_words_of_an_option_or_a_file(tmp_path):
    path = tmp_path / "genes.txt"
    path.write_text("TP53\nENSG00000134057, CCNB1\n\n")
    assert split_words([str(path), "TP53,H2A.Z"], "--genes") == [
        "TP53",
        "ENSG00000134057",
        "CCNB1",
        "H2A.Z",
    ]
    for text in ("", "../x", "a/b", "x" * 50):
        with pytest.raises(ConfigError, match="--genes: expected ids or names"):
            split_words([text], "--genes")


def test_the_atlas_s_own_table(tmp_path):
    path = tmp_path / "subcellular_location.tsv"
    path.write_text(f"Gene\tGene name\tReliability\n{GENE}\tCCNB1\tEnhanced\n{GENE}\tCCNB1\tx\n")
    assert read_gene_table(path) == [GENE]
    for content, message in (
        (b"Gene,Gene name\n", "column Gene, got Gene,Gene name"),
        (b"", "got no header"),
        (b"Gene\tx\n", "no rows"),
        (b"Gene\tx\nTP53\t\n", "row 2"),
        (b"\xff\xfe\x00", "expected a table of text"),
    ):
        path.write_bytes(content)
        with pytest.raises(TableError, match=message):
            read_gene_table(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_gene_table(tmp_path / "nowhere.tsv")


@pytest.mark.realdata
def test_the_whole_table_of_the_atlas(real_data, tmp_path):
    import gzip  # noqa: PLC0415

    path = tmp_path / "subcellular_location.tsv"
    packed = real_data / "tables" / "subcellular_location.tsv.gz"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    assert len(read_gene_table(path)) == 13_147


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://www.proteinatlas.org/x", True),
        ("https://images.proteinatlas.org/1/a.jpg", True),
        ("http://images.proteinatlas.org/1/a.jpg", False),
        ("https://www.proteinatlas.org.evil.org/x", False),
        ("https://www.proteinatlas.org:444/x", False),
        ("https://www.proteinatlas.org:99999999/x", False),
        ("https://user@www.proteinatlas.org/x", False),
        ("https://v18.proteinatlas.org/x", False),
        ("ftp://www.proteinatlas.org/x", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_where_requests_may_go(url, allowed):
    assert ATLAS.allows(url) == allowed


def test_the_addresses_that_are_asked():
    assert ATLAS.entry_url(GENE) == f"https://www.proteinatlas.org/{GENE}.xml"
    assert ATLAS.image_url("30741", "457_A4_1_red.tif.gz") == (
        "https://images.proteinatlas.org/30741/457_A4_1_red.tif.gz"
    )
    assert ATLAS.search_url("HPA 1&x").endswith(
        "search_download.php?search=HPA+1%26x&format=json&columns=g%2Ceg%2Cab&compress=no"
    )
    assert (
        mirror_site("http://localhost:8000/hpa/").entry_url("a")
        == "http://localhost:8000/hpa/a.xml"
    )
    for url in ("localhost", "file:///x", "http://", "http://x/?a=b"):
        with pytest.raises(ConfigError, match="--mirror: expected an address"):
            mirror_site(url)
