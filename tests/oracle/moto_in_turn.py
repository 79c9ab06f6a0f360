#!/usr/bin/env python3
"""A moto server that answers one request after the other.

    moto_in_turn.py PORT

moto looks whether an object is there and then stores it, in threads of its own: two conditional puts at once may both win, more
often the busier the machine. A store that does so is rightly refused what needs them; Amazon's does not.
"""
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple

TURN = threading.Lock()


class Quiet(WSGIRequestHandler):
    def log_request(self, *_):
        pass


def in_turn(app):
    def answer(environ, start_response):
        with TURN:
            return list(app(environ, start_response))
    return answer


run_simple("127.0.0.1", int(sys.argv[1]), in_turn(DomainDispatcherApplication(create_backend_app)), threaded=True, request_handler=Quiet)
