"""Who may ask the console for anything: whoever has its token, calls it by its own name and, to change something, comes
from one of its own pages."""

import hashlib
import hmac
import ipaddress
import socket
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "::1")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip
"""What every answer says, where it says nothing else itself."""


class Guard:
    """Lets through to the app what may pass, and has every answer kept to itself."""

    def __init__(self, app: ASGIApp, token: str, host: str) -> None:
        self.app, self.token, self.host = app, token, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def kept(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self.instead(Request(scope))
        await (answer or self.app)(scope, receive, kept)

    def instead(self, request: Request) -> Response | None:
        """What is answered in the app's place; None where the app may answer."""
        if not known(request.headers.get("host", ""), self.host):
            return PlainTextResponse("this console goes by another name", 400)
        if same(request.query_params.get("token", ""), self.token):
            return entered(request, self.token)
        if not same(request.cookies.get(cookie(request), ""), self.token):
            return PlainTextResponse("open the address with the token that `breakfix console` printed", 401)
        if request.method not in ("GET", "HEAD") and not own(request):
            return PlainTextResponse("this did not come from a page of this console", 403)
        return None


def known(said: str, host: str) -> bool:
    """Whether a request's Host is one of ours: another site's name that was made to lead here is not.

    Elsewhere than on this machine alone, any address will do: only names can be made to lead somewhere.
    """
    try:
        name, _ = urlsplit(f"//{said}").hostname or "", urlsplit(f"//{said}").port
    except ValueError:
        return False
    if host in LOOPBACK:
        return name in LOOPBACK
    return name in (*LOOPBACK, host.lower(), socket.gethostname().lower()) or address(name)


def address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def own(request: Request) -> bool:
    """Whether one of our own pages sent a request. A form's Origin is `null` where no referrer is said."""
    origin, site = request.headers.get("origin", "null"), request.headers.get("sec-fetch-site")
    if origin != "null" and urlsplit(origin).netloc != request.headers["host"]:
        return False
    return site == "same-origin" if site else origin != "null"


def entered(request: Request, token: str) -> Response:
    """The same page without the token in its address, which a cookie has from now on."""
    rest = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != "token"])
    answer = RedirectResponse(f"/{request.url.path.lstrip('/')}{'?' + rest if rest else ''}", 303)
    answer.set_cookie(cookie(request), token, httponly=True, samesite="strict")
    return answer


def cookie(request: Request) -> str:
    """The name of the token's cookie: browsers share cookies between the ports of a machine."""
    return f"breakfix-{urlsplit('//' + request.headers['host']).port or 80}"


def form_token(token: str) -> str:
    """What every form has to say. It is in pages, so it is not the token itself."""
    return hmac.new(token.encode(), b"form", hashlib.sha256).hexdigest()


def same(said: str, wanted: str) -> bool:
    return hmac.compare_digest(said.encode(), wanted.encode())
