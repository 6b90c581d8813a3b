"""The options of ``search --serve``, and the run of its server."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from themo.cli.options import natural
from themo.errors import InputError
from themo.image_search.serving.listening import DEFAULT_HOST, DEFAULT_PORT, is_loopback
from themo.process.output import print_json, print_result
from themo.process.progress import console

if TYPE_CHECKING:
    import socket

    from themo.image_search.answers import Answerer

N_BEST = 24
"""Initial number of matches of the page."""
_FIRST_TEXT = "hola"
"""Text that is searched before the first request, as a warm-up."""
_LAST_PORT = 65_535


def add_serving_options(group: Any) -> None:
    """Add ``--serve``, ``--host`` and ``--port``."""
    group.add_argument(
        "--serve",
        action="store_true",
        help="local page with a search box, instead of TEXT, until Ctrl-C (exit code 130)",
    )
    group.add_argument(
        "--host",
        metavar="ADDRESS",
        help=f"address on which --serve listens ({DEFAULT_HOST}: this machine only)",
    )
    group.add_argument(
        "--port", type=_port, metavar="N", help=f"port of --serve; 0: any free one ({DEFAULT_PORT})"
    )


def refuse_serving_options(options: Namespace) -> None:
    """Refuse options that contradict each other.

    Raises:
        InputError: An option of the page without ``--serve``, or one of the printed search with it.
    """
    if not options.serve:
        for name in ("host", "port"):
            if getattr(options, name) is not None:
                raise InputError(f"--{name}: needs --serve, got {getattr(options, name)!r} without it")
        return
    for name in ("queries", "plus", "minus", "like", "unlike"):
        if given := getattr(options, name):
            option = "" if name == "queries" else f"--{name} "
            raise InputError(f"--serve: enter texts and pictures in the page, got {option}{str(given[0])!r}")
    if options.html is not None:
        raise InputError(f"--serve: cannot be combined with --html, got {options.html}")


def open_port(options: Namespace) -> socket.socket:
    """Return the listening socket of ``--host`` and ``--port``; print a warning if other machines reach it.

    Raises:
        InputError: The port is taken, or the host is not an address of this machine.
    """
    from themo.image_search.serving.listening import listen

    host = DEFAULT_HOST if options.host is None else options.host
    listener = listen(host, DEFAULT_PORT if options.port is None else options.port)
    if not is_loopback(listener):
        console.print(
            f"--host {host}: other machines can reach the page. Whoever has its address sees the pictures, "
            "and the connection is not encrypted."
        )
    return listener


def serve(options: Namespace, listener: socket.socket, version: Path, answerer: Answerer) -> None:
    """Serve the page until a signal; its address is printed on standard output."""
    from themo.image_search.serving.collection import Collection
    from themo.image_search.serving.server import Server

    collection = Collection(
        options.images, answerer, str(version), options.min_chance, fold_duplicates=not options.duplicates
    )
    collection.by_text(_FIRST_TEXT, 1)
    server = Server.over(collection, listener, options.host or DEFAULT_HOST, options.top or N_BEST)
    if options.json:
        print_json({"address": server.address, "images": len(collection), "version": str(version)})
    else:
        print_result(server.address)
    console.print("Serving until Ctrl-C. New pictures are not searched.")
    server.run()


def _port(text: str) -> int:
    number = natural(text)
    if number > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"must be at most {_LAST_PORT}, got {text!r}")
    return number
