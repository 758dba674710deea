"""The web page and what it asks for: cells, pictures, words, agreement.

The page itself is a few files of this package and the report's viewer; whatever a run or a person
calls itself reaches it as JSON and is shown as text. Cells are asked for by their row, files by
names from a list, so no address can lead elsewhere.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse, Response

from hpacells import __version__
from hpacells.core.errors import HpacellsError, OutputError
from hpacells.core.fov import METADATA_COLUMNS
from hpacells.core.palette import STYLES
from hpacells.review.agreement import measure_agreement
from hpacells.review.cells import propose_locations
from hpacells.review.config import ReviewSettings
from hpacells.review.for_training import write_for_training
from hpacells.review.guard import Access, add_guard
from hpacells.review.messages import SaidWord, Undoing, Who
from hpacells.review.pictures import CellPictures
from hpacells.review.session import Order, ReviewSession
from hpacells.review.words import Word

__all__ = ["ReviewTools", "make_app"]

_ASSETS = {
    "review.js": ("hpacells.review", "text/javascript"),
    "outbox.js": ("hpacells.review", "text/javascript"),
    "pictures.js": ("hpacells.review", "text/javascript"),
    "review.css": ("hpacells.review", "text/css"),
    "viewer.js": ("hpacells.report", "text/javascript"),
    "viewer.css": ("hpacells.report", "text/css"),
}
_MAX_PAGE = 50
_REMEMBERED = 30
"""Words of a person that the page can undo after it was loaded anew."""


@dataclass(frozen=True)
class ReviewTools:
    """What the app works with.

    Parameters
    ----------
    session
        The review.
    pictures
        Cuts cells.
    cutters
        Where pictures are cut, so that saving a word never waits for them.
    settings
        What is shown.
    """

    session: ReviewSession
    pictures: CellPictures
    cutters: Executor
    settings: ReviewSettings


def make_app(tools: ReviewTools, access: Access) -> FastAPI:
    """Make the web application of one review.

    Parameters
    ----------
    tools
        What it works with.
    access
        Who may talk to it.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_guard(app, access)
    _add_files(app)
    _add_cells(app, tools)
    _add_words(app, tools)

    @app.exception_handler(HpacellsError)
    async def tell(request: Request, error: HpacellsError) -> Response:
        del request
        status = (
            HTTPStatus.SERVICE_UNAVAILABLE
            if isinstance(error, OutputError)
            else HTTPStatus.INTERNAL_SERVER_ERROR
        )
        return JSONResponse({"detail": str(error)}, status)

    return app


def _add_files(app: FastAPI) -> None:
    @app.get("/")
    def page() -> Response:
        return _file("hpacells.review", "review.html", "text/html")

    @app.get("/assets/{name}")
    def asset(name: str) -> Response:
        if name not in _ASSETS:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such file")
        package, kind = _ASSETS[name]
        return _file(package, name, kind)


def _file(package: str, name: str, kind: str) -> Response:
    return Response((files(package) / "assets" / name).read_bytes(), media_type=kind)


def _add_cells(app: FastAPI, tools: ReviewTools) -> None:
    session, cells = tools.session, tools.session.cells

    @app.get("/api/run")
    def run() -> dict[str, Any]:
        return {
            "name": cells.run_folder.resolve().name,
            "review": session.review_id,
            "digest": cells.digest,
            "n_cells": len(cells),
            "n_fields": len(cells.fields),
            "model": cells.provenance.get("model_id"),
            "locations": [
                {"key": s.location.key, "title": s.location.title, "color": s.color} for s in STYLES
            ],
            "people": session.people(),
            "version": __version__,
        }

    @app.get("/api/cells")
    def page(
        who: Who,
        order: Order = Order.DOUBT,
        location: Annotated[int | None, Query(ge=0, lt=len(STYLES))] = None,
        skip: Annotated[str, Query(pattern="^(mine|everybodys|nobodys)$")] = "mine",
        after: Annotated[int | None, Query(ge=0, lt=len(cells))] = None,
        n: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 10,
    ) -> dict[str, Any]:
        if order is Order.LOCATION and location is None:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "expected a location")
        skipped = {"mine": who, "everybodys": "", "nobodys": None}[skip]
        found = session.page(order, location, skip=skipped, after=after, n=n)
        with_others = order is Order.DISAGREEMENT
        return {
            "total": found.total,
            "left": found.left,
            "cells": [
                _describe(tools, row, who=who, with_others=with_others) for row in found.rows
            ],
        }

    @app.get("/api/cells/{row}")
    def one_cell(row: int, who: Who) -> dict[str, Any]:
        return _describe(tools, _checked(row), who=who, with_others=False)

    @app.get("/api/pictures/{row}")
    async def picture(row: int, digest: str) -> dict[str, Any]:
        if digest != cells.digest:
            raise HTTPException(HTTPStatus.CONFLICT, "the run has changed: load the page anew")
        work = tools.pictures.picture
        return await asyncio.get_running_loop().run_in_executor(tools.cutters, work, _checked(row))

    def _checked(row: int) -> int:
        if not 0 <= row < len(cells):
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such cell")
        return row


def _add_words(app: FastAPI, tools: ReviewTools) -> None:
    session = tools.session

    @app.post("/api/words")
    def say(said: SaidWord) -> dict[str, Any]:
        if (said.fov_id, said.cell_id) not in session.cells.row_of:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such cell in this run")
        word = Word(
            key=str(said.key),
            fov_id=said.fov_id,
            cell_id=said.cell_id,
            who=said.who,
            action=said.action,
            locations=said.locations,
            comment=(said.comment or "").strip() or None,
            when=datetime.now(UTC),
        )
        return {"new": session.save(word), "judged": session.people().get(said.who, 0)}

    @app.post("/api/undo")
    def undo(undoing: Undoing) -> dict[str, Any]:
        undone = session.undo(str(undoing.key), undoing.who)
        return {"undone": undone, "judged": session.people().get(undoing.who, 0)}

    @app.get("/api/recent")
    def recent(who: Who) -> list[dict[str, Any]]:
        return [
            {"key": word.key, "row": session.cells.row_of[word.cell]}
            for word in session.recent(who, _REMEMBERED)
        ]

    @app.get("/api/agreement")
    def agreement() -> list[dict[str, Any]]:
        pairs = measure_agreement(session.words())
        return [{**asdict(pair), "mean_kappa": pair.mean_kappa} for pair in pairs]

    @app.post("/api/export")
    def export() -> dict[str, Any]:
        words = session.words()
        return {
            "changed": write_for_training(session.cells.run_folder, words),
            "words": len(words),
        }


def _describe(tools: ReviewTools, row: int, *, who: str, with_others: bool) -> dict[str, Any]:
    """Give what the page shows of a cell besides its picture."""
    cells = tools.session.cells
    scores: Sequence[float] = cells.scores[row].tolist()
    facts = cells.fields[cells.fov_ids[row]]
    words = tools.session.words_on(row)
    mine = words.pop(who, None)
    return {
        "row": row,
        "fov_id": cells.fov_ids[row],
        "cell_id": int(cells.cell_ids[row]),
        "scores": [round(score, 3) for score in scores],
        "proposed": propose_locations(list(scores), tools.settings.min_score),
        "doubt": round(float(cells.doubt[row]), 3),
        "area_um2": round(float(cells.area_um2[row])),
        "status": "border" if cells.is_border[row] else "ok",
        "flags": cells.flags(row),
        "known": {name: facts[name] for name in METADATA_COLUMNS if facts[name] is not None},
        "mine": None if mine is None else _word(mine),
        "others": [_word(word) for word in words.values()] if with_others else [],
    }


def _word(word: Word) -> dict[str, Any]:
    return {
        "key": word.key,
        "who": word.who,
        "action": word.action.value,
        "locations": word.locations,
        "comment": word.comment,
        "when": word.when.isoformat(timespec="seconds"),
    }
