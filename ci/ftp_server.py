"""FTP servers for tests, on loopback: one that cuts, and one that demands encryption.

    ftp_server.py cutting PORT FOLDER            every transfer of more than CUT bytes breaks, by turns with a 426 and without a word;
                                                 no EPSV, and PASV names an address that is not there; few connections
    ftp_server.py secure PORT FOLDER PEM         control and data must be encrypted; PEM holds key and certificate

Both let `anonymous` in, `me` with the password `secret`, and `canary` with one that is looked for wherever a run leaves bytes.
"""

import itertools
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.log import logger
from pyftpdlib.servers import FTPServer

CUT = 150_000
turns = itertools.count()


class CuttingChannel(DTPHandler):
    """Sends so many bytes and no more."""

    passed = 0

    def send(self, data):
        sent = super().send(data)
        self.passed += sent
        if self.passed > CUT and self.cmd == "RETR":
            if next(turns) % 2:
                self._resp = ("426 Connection closed; transfer aborted.", logger.debug)
                self.close()
            else:
                self.cmd_channel.close()
        return sent


class Cutting(FTPHandler):
    dtp_handler = CuttingChannel
    use_sendfile = False
    masquerade_address = "203.0.113.9"
    proto_cmds = {name: told for name, told in FTPHandler.proto_cmds.items() if name not in ("EPSV", "EPRT")}


def main():
    kind, port, folder = sys.argv[1:4]
    authorizer = DummyAuthorizer()
    authorizer.add_anonymous(folder)
    authorizer.add_user("me", "secret", folder, perm="elr")
    authorizer.add_user("canary", "canary/bird+7391", folder, perm="elr")
    if kind == "secure":
        from pyftpdlib.handlers import TLS_FTPHandler as handler

        handler.certfile = sys.argv[4]
        handler.tls_control_required = handler.tls_data_required = True
    else:
        handler = Cutting
    handler.authorizer = authorizer
    server = FTPServer(("127.0.0.1", int(port)), handler)
    if kind == "cutting":
        server.max_cons = 12
    server.serve_forever()


main()
