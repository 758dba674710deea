import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from hpacells.review.guard import MAX_BODY, Access, add_guard

TOKEN = "only-for-tests"


def make_client(access, base_url="http://127.0.0.1:8642"):
    app = FastAPI()
    add_guard(app, access)
    for path in ("/", "/api/x"):
        app.get(path)(lambda: "in")
    app.post("/api/x")(lambda: "in")
    return TestClient(app, base_url=base_url, follow_redirects=False)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8642", "localhost:8642", "LOCALHOST", "[::1]:8642", "localhost:9999"]
)
def test_this_machines_own_names_pass(host):
    client = make_client(Access())
    assert client.get("/", headers={"host": host}).json() == "in"
    origin = f"http://{host}"
    assert client.post("/api/x", headers={"host": host, "origin": origin}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8642", "", "[", "a@b"],
)
def test_a_foreign_name_that_resolves_here_is_refused(host):
    answer = make_client(Access()).get("/", headers={"host": host})
    assert answer.status_code == 403
    assert "host name" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1:8642"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://localhost:8642"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_requests_of_another_origin_are_refused(method, headers):
    answer = make_client(Access()).request(method, "/api/x", headers=headers)
    assert answer.status_code == 403
    assert answer.json()["detail"] == "requests of other pages are refused"


def test_a_link_elsewhere_may_open_the_page():
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert make_client(Access()).get("/", headers=headers).status_code == 200


def test_with_a_token_only_who_brings_it_gets_in():
    client = make_client(Access(TOKEN, hosts=None), "http://lab-pc:9000")
    for path in ("/", "/api/x", "/?token=wrong", "/?token=", f"/api/x?token={TOKEN}"):
        answer = client.get(path)
        assert answer.status_code == 401
        assert "with its token" in answer.json()["detail"]
    assert client.post("/api/x").status_code == 401
    answer = client.get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "hpacells_review_9000=" in cookie
    assert client.get("/").status_code == 200
    assert client.post("/api/x", headers={"origin": "http://lab-pc:9000"}).status_code == 200
    assert client.post("/api/x", headers={"origin": "http://evil"}).status_code == 403


def test_a_cookie_of_another_server_does_not_open_this_one():
    client = make_client(Access(TOKEN, hosts=None), "http://lab-pc:9000")
    client.cookies.set("hpacells_review_9001", TOKEN)
    assert client.get("/").status_code == 401


def test_too_much_is_refused_unread():
    client = make_client(Access())
    assert client.post("/api/x", content=b"x" * (MAX_BODY + 1)).status_code == 413
    assert client.post("/api/x", content=iter([b"x"] * 3)).status_code == 413
    assert client.post("/api/x", headers={"content-length": "-1"}).status_code == 413


@pytest.mark.parametrize("path", ["/", "/none"])
def test_every_answer_forbids_scripts_and_frames_of_others(path):
    headers = make_client(Access()).get(path).headers
    assert "script-src 'self';" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe-eval" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
