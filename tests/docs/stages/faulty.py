"""A registry that fails as a repository's name says: /v2/team/denied/... answers 403, and so on."""
import hashlib
import http.server
import json

BLOB = b"x" * 3_000_000
DIGEST = "sha256:" + hashlib.sha256(BLOB).hexdigest()


def error(code, message):
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


ANSWERS = {
    "login": (401, error("UNAUTHORIZED", "authentication required"), {"WWW-Authenticate": 'Basic realm="x"'}),
    "denied": (403, error("DENIED", "requested access to the resource is denied"), {}),
    "absent": (404, error("MANIFEST_UNKNOWN", "manifest unknown"), {}),
    "broken": (500, b"oops", {}),
    "busy": (429, error("TOOMANYREQUESTS", "You have reached your pull rate limit."), {"Retry-After": "60"}),
    "page": (200, b"<html>please log in</html>", {"Content-Type": "text/html"}),
    "other": (200, b"y" * len(BLOB), {"Content-Type": "application/octet-stream"}),
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parts = self.path.split("?")[0].split("/")
        status, body, fields = ANSWERS.get(parts[3] if len(parts) > 3 else "", (200, b"{}", {}))
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **fields, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("192.0.2.2", 8080), Handler).serve_forever()
