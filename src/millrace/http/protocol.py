"""The one answer that is given before there is a request: to bytes that are no HTTP."""

import msgspec
import uuid_utils
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BODY = msgspec.json.encode(
    {
        "success": False,
        "errors": [{"code": 10208, "message": "This is no HTTP request that can be read."}],
        "messages": [],
        "result": None,
    }
)


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with our envelope around its refusal."""

    def send_400_response(self, msg: str) -> None:
        """Answer 400 and close the connection."""
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"x-correlation-id: {uuid_utils.uuid4()}\r\ncontent-length: {len(BODY)}\r\n\r\n"
        )
        self.transport.write(head.encode() + BODY)
        self.transport.close()
