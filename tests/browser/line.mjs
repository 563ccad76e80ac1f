/** A telephone line that can be cut: a TCP forwarder between a gateway and its hub. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export class Line {
  #server;
  #sockets = new Set();
  #whole = true;

  /** A whole line to a loopback port; where its near end listens is `port`. */
  static async to(target) {
    const line = new Line();
    line.#server = createServer((near) => line.#carry(near, target)).listen(0, '127.0.0.1');
    await once(line.#server, 'listening');
    line.port = line.#server.address().port;
    return line;
  }

  #carry(near, target) {
    if (!this.#whole) {
      near.destroy();
      return;
    }
    const far = connect(target, '127.0.0.1');
    for (const [socket, other] of [[near, far], [far, near]]) {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
      socket.on('error', () => other.destroy()).on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  }

  /** Ends every connection and takes no new ones. */
  cut() {
    this.#whole = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Carries again. */
  mend() {
    this.#whole = true;
  }

  end() {
    this.cut();
    this.#server.close();
  }
}
