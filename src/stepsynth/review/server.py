"""The page of a review, served to this machine alone.

Whoever knows the address has its token; nothing is answered without it, nor to a page of another
site. Texts are hostile: they go to the page as JSON, which shows them as text and nothing else.
"""

import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jinja2
from aiohttp import web
from markupsafe import Markup

from stepsynth._util.serving import HANDLER, PACKED, is_packed
from stepsynth._util.text import clean, shorten, visible
from stepsynth.errors import StepsynthError
from stepsynth.review.deciding import BadRequestError, decide, find, undo, write_gold_decisions
from stepsynth.review.decisions import Decision
from stepsynth.review.log import ReviewLog
from stepsynth.review.page import (
    STATES,
    Query,
    current,
    find_errors,
    find_rows,
    to_dict,
)
from stepsynth.review.table import Table
from stepsynth.runfolder import Run

MOST_BYTES = 4 * 2**20
"""Bytes of a request's body: an edited text of a million characters fits."""
PAGE = 50
"""Rows or errors of a page."""
TEMPLATES = Path(__file__).parent / "templates"
HOSTS = ("127.0.0.1", "localhost")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ReviewServer:
    """A web application to review a run with.

    Args:
        run: The run.
        style: The style sheet of the project's pages.

    Attributes:
        token: The first part of every path; made at random.

    Raises:
        RunFolderError: The run or the file of decisions is damaged.
    """

    def __init__(self, run: Run, style: str) -> None:
        self.token = secrets.token_urlsafe(32)
        self._run = run
        self._style = style
        self._table = Table.read(run)
        self._log = ReviewLog(run.folder.review)

    def make_app(self) -> web.Application:
        """Return the application."""
        app = web.Application(
            client_max_size=MOST_BYTES, middlewares=[self._guard], handler_args=HANDLER
        )
        app.router.add_get("/{token}/", self._show)
        app.router.add_get("/{token}/rows", self._list)
        app.router.add_get("/{token}/text", self._text)
        app.router.add_post("/{token}/decide", self._decide)
        app.router.add_post("/{token}/undo", self._undo)
        return app

    # Who may ask ------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse who does not know the token, and pages of other sites; answer errors in JSON."""
        if why := self._refusal(request):
            return _harden(_error(403, why))
        try:
            self._log.refresh()
            response = await handler(request)
        except BadRequestError as error:
            response = _error(400, str(error))
        except StepsynthError as error:
            response = _error(409, f"{error.message} ({error.hint})")
        except web.HTTPRequestEntityTooLarge:
            response = _error(413, f"a body has at most {MOST_BYTES:,} bytes")
        except web.HTTPException as error:
            response = _error(error.status, error.reason.lower())
        except OSError as error:
            response = _error(507, f"the decision cannot be written: {error.strerror}")
        except Exception as error:  # its words may hold a text
            response = _error(500, f"this is a bug of stepsynth: {type(error).__name__}")
        return _harden(response)

    def _refusal(self, request: web.Request) -> str:
        given = request.path.removeprefix("/").partition("/")[0]
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            return "the token is missing or wrong: open the address that the command printed"
        # A name of another site that leads to this machine (DNS rebinding) is no address of ours.
        host = request.host.rpartition(":")[0] or request.host
        origin = request.headers.get("Origin")
        if host not in HOSTS or origin not in (None, f"http://{request.host}"):
            return "this request comes from another site"
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return "this request comes from another site"
        return ""

    # What is shown ----------------------------------------------------------------------------

    async def _show(self, _: web.Request) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        facts = {"labels": self._table.labels, "run": str(self._run.folder.path.resolve())}
        page = environment.get_template("review.html.j2").render(
            nonce=nonce,
            name=visible(clean(self._run.folder.path.resolve().name)),
            style=Markup("".join((self._style, _read("review.css")))),
            script=Markup(_read("decide.js")),
            facts=facts,
            rounds=self._table.rounds(),
            labels=self._table.labels,
            states=STATES,
        )
        response = web.Response(text=page, content_type="text/html")
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        return response

    async def _list(self, request: web.Request) -> web.Response:
        """Return the rows or errors from a place on, how many there are, and the next place.

        A place is a row's number in the run: it stays when a decision changes what is let through.
        """
        given, table, history = request.query, self._table, self._log.history
        query = Query(
            label=given.get("label", ""),
            round=_number(given.get("round")),
            state=given.get("state", ""),
            text=given.get("text", ""),
            error=given.get("error", ""),
        )
        if given.get("view") == "rows":
            found = list(find_rows(table, query, history))
        else:
            found = list(find_errors(table, query, history))
        first = _number(given.get("from")) or 0
        rest = [each for each in found if each.place >= first]
        return _json(
            {
                "total": len(found),
                "before": len(found) - len(rest),
                "next": rest[PAGE].place if len(rest) > PAGE else None,
                "items": [to_dict(each, table, history) for each in rest[:PAGE]],
                "counts": table.count(history),
            }
        )

    async def _text(self, request: web.Request) -> web.Response:
        """Return a whole text, as it is and as it is safe to show."""
        data, row, example = find(request.query, self._table)
        raw = current(example, self._log.history.on(data, row))[0]
        return _json({"raw": raw, "text": visible(raw)})

    # What is decided --------------------------------------------------------------------------

    async def _decide(self, request: web.Request) -> web.Response:
        given = await _read_json(request)
        return self._keep(decide(given, self._table, self._log.history))

    async def _undo(self, request: web.Request) -> web.Response:
        return self._keep(undo(await _read_json(request), self._log.history))

    def _keep(self, decisions: Sequence[Decision]) -> web.Response:
        """Write decisions, and return the rows that they are about as they are now."""
        table, history = self._table, self._log.history

        def write_gold() -> None:
            if any(each.data == "gold" for each in decisions):
                write_gold_decisions(self._run.folder.gold_decisions, table, history)

        self._log.append(decisions, write_gold)
        rows = [table.rows[each.row] for each in decisions if each.data == "synthetic"]
        gold = {each.row for each in decisions if each.data == "gold"}
        errors = [each for each in table.errors if each.id in gold]
        return _json(
            {
                "items": [to_dict(each, table, history) for each in (*rows, *errors)],
                "counts": table.count(history),
            }
        )


async def _read_json(request: web.Request) -> Mapping[str, Any]:
    """Return the body of a request.

    Raises:
        BadRequestError: It is no JSON object; a form of another site cannot send one.
    """
    if request.content_type != "application/json":
        raise BadRequestError("the content type must be application/json")
    if is_packed(request.headers):
        raise BadRequestError(PACKED)
    try:
        given = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise BadRequestError("the body is no JSON") from error
    if not isinstance(given, dict):
        raise BadRequestError("the body is no JSON object")
    return cast("Mapping[str, Any]", given)


def _number(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise BadRequestError(f"expected a number, got {shorten(text, 40)!r}")
    return int(text)


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _json(value: Any) -> web.Response:
    return web.json_response(value, dumps=lambda found: json.dumps(found, ensure_ascii=False))


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": visible(message)}, status=status)


def _harden(response: web.StreamResponse) -> web.StreamResponse:
    """Return an answer that no browser keeps, guesses the type of, or passes the address of on."""
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response
