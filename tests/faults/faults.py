"""What can go wrong with one request: each a function that a rule of the proxy calls."""

from __future__ import annotations

import re
import time

from tests.faults.proxy import Answer, Exchange, Fault

# Where an answer names the version of an object: an ETag, or on GCS the generation.
_IN_XML = re.compile(rb"(<E[Tt]ag>)[^<]*")
_IN_JSON = re.compile(rb'("generation"\s*:\s*")\d+')
WRONG_ETAG = "0bad0bad0bad0bad0bad0bad0bad0bad"
WRONG_GENERATION = "1234567890123456"
_PAUSE_SECONDS = 0.05


def answering(answer: Answer) -> Fault:
    """Answer in the server's place; it never sees the request."""
    return lambda exchange: exchange.send(answer)


def reset(exchange: Exchange) -> None:
    exchange.reset()


def cut_off_request(exchange: Exchange) -> None:
    """The server gets half of the body, the client a reset."""
    exchange.forward_half()
    exchange.reset()


def cut_off_answer(exchange: Exchange) -> None:
    """The server does what it was asked to, and half of its answer comes."""
    exchange.send_half(exchange.forward())
    exchange.close()


def lose_answer(exchange: Exchange) -> None:
    """The server does what it was asked to, and none of its answer comes."""
    exchange.forward()
    exchange.reset()


def slow(exchange: Exchange) -> None:
    exchange.send_in_pieces(exchange.forward(), lambda: time.sleep(_PAUSE_SECONDS))


def stall(exchange: Exchange) -> None:
    """The server never sees the request, and the client hears nothing."""
    exchange.wait_until_given_up()


def stall_half_way(exchange: Exchange) -> None:
    """Half of the answer comes, and then nothing more."""
    exchange.send_half(exchange.forward())
    exchange.wait_until_given_up()


def wrong_etag(exchange: Exchange) -> None:
    """The answer names another version of the object than there is."""
    answer = exchange.forward()
    body = _IN_XML.sub(rb"\g<1>" + WRONG_ETAG.encode(), answer.body)
    body = _IN_JSON.sub(rb"\g<1>" + WRONG_GENERATION.encode(), body)
    answer = Answer(answer.status, body, answer.headers, answer.length)
    for name, wrong in (("ETag", f'"{WRONG_ETAG}"'), ("x-goog-generation", WRONG_GENERATION)):
        if answer.header(name):
            answer = answer.with_header(name, wrong)
    exchange.send(answer)


def flip_byte(exchange: Exchange) -> None:
    """The first byte of what is sent changes on its way."""
    body = exchange.request.body
    exchange.send(exchange.forward(bytes([body[0] ^ 1]) + body[1:] if body else body))
