"""A server that stands in for the mirrors of files."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Mirror:
    """A server of files in memory, with the faults that a test asks for."""

    def __init__(self, files):
        self.files = dict(files)
        self.ranges = True  # whether parts of files may be asked for
        self.headers = {}  # that differ from the usual ones; None leaves one out
        self.status = None  # of all answers, which then have no content
        self.breaks = {}  # after how many bytes a connection breaks, once for each number
        self.pause = None  # seconds after each byte
        self.endless_headers = False  # whether the headers never end
        self.raw = None  # all that is answered, if it is given
        self.stalls = threading.Event()
        self.stalls.set()
        self.requests = []  # path and range of each
        self.sent = 0  # bytes of content
        self.closed = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.mirror = self
        self.url = f"http://127.0.0.1:{self.server.server_port}/folder"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self):
        self.closed.set()
        self.stalls.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        mirror, name = self.server.mirror, self.path.rpartition("/")[2]
        asked = self.headers.get("Range")
        mirror.requests.append((name, asked))
        content = mirror.files.get(name)
        if mirror.raw is not None:
            return self.send(name, mirror.raw)
        if mirror.status is not None or content is None:
            return self.answer(mirror.status or 404, {"Content-Length": "0"})
        if asked and mirror.ranges:
            start = int(asked[len("bytes=") : -1])
            if start >= len(content):
                return self.answer(416, {"Content-Length": "0"})
            given = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            content = content[start:]
            self.answer(206, given | {"Content-Length": str(len(content))})
        else:
            self.answer(200, {"Content-Length": str(len(content))})
        return self.send(name, content)

    def answer(self, status, headers):
        self.send_response(status)
        if self.server.mirror.endless_headers:
            self.flush_headers()
            self.wfile.write(b"X-Long: ")
            while not self.server.mirror.closed.wait(0.01):
                self.wfile.write(b"x")
        for key, value in (headers | self.server.mirror.headers).items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()

    def send(self, name, content):
        mirror = self.server.mirror
        breaks = mirror.breaks.get(name)
        if breaks:
            content = content[: breaks.pop(0)]
        step = 1 << 16 if mirror.pause is None else 1
        for start in range(0, len(content), step):
            try:
                self.wfile.write(content[start : start + step])
            except ConnectionError:  # the client has closed the connection
                return
            mirror.sent += len(content[start : start + step])
            if mirror.pause is not None and mirror.closed.wait(mirror.pause):
                return
        if breaks is not None:
            mirror.stalls.wait(60)

    def log_message(self, *args):
        pass
