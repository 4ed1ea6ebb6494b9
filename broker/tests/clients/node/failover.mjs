// Producers and consumers of `failover.py` that use @stomp/stompjs over @stomp/tcp-wrapper.
//
//   node failover.mjs FOLDER ADDRESSES ID_HEADER QUEUE_ONE QUEUE_TWO
//
// FOLDER holds node_modules; ADDRESSES is host:port,host:port,... Each fact goes to standard output
// as a line of JSON, in the order in which it happened: opened, written, acknowledged, refused,
// received, consumed. After `stop` on standard input nothing new is sent, its end ends everything. Half of the producers send again what was not answered when a connection was
// lost, the others leave it unknown.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import path from 'node:path';

const [folder, addressList, ID_HEADER, QUEUE_ONE, QUEUE_TWO] = process.argv.slice(2);
const require = createRequire(path.join(folder, 'package.json'));
const { Client, Versions } = require('@stomp/stompjs');
const { TCPWrapper } = require('@stomp/tcp-wrapper');

const addresses = addressList.split(',').map(text => text.split(':'));
const VERSIONS = ['1.2', '1.1', '1.0', '1.2'];

// SENDs of one producer that wait for their RECEIPT, and the pause between two of them.
const WINDOW = 8;
const PAUSE_MS = 2;

// A slave refuses at once; the next address is tried after this.
const RECONNECT_MS = 20;

let producing = true;
let connections = 0;

function say(fact, details) {
  process.stdout.write(`${JSON.stringify({ fact, ...details })}\n`);
}

// A client that keeps a connection to whichever broker listens.
class Peer {
  constructor(number, queue) {
    this.number = number;
    this.queue = queue;
    this.attempt = number;
    this.client = new Client({
      webSocketFactory: () => this.open(),
      stompVersions: new Versions([VERSIONS[number % VERSIONS.length]]),
      reconnectDelay: RECONNECT_MS,
      heartbeatIncoming: 0,
      heartbeatOutgoing: 0,
      onConnect: () => this.onConnect(),
      onWebSocketClose: () => this.onClose(),
      onStompError: frame => this.onError(frame),
    });
    this.client.activate();
  }

  open() {
    const [host, port] = addresses[this.attempt++ % addresses.length];
    this.connection = ++connections;
    say('opened', { connection: this.connection });
    return new TCPWrapper(host, Number(port));
  }

  onClose() {}

  onError() {}
}

class Producer extends Peer {
  constructor(number, queue) {
    super(number, queue);
    this.sequence = 0;
    this.unanswered = new Set();
    this.sendsAgain = number % 2 === 1;
  }

  onConnect() {
    const again = [...this.unanswered];
    this.unanswered.clear();
    if (this.sendsAgain) again.forEach(id => this.send(id));
    this.timer = setInterval(() => this.tick(), PAUSE_MS);
  }

  onClose() {
    clearInterval(this.timer);
  }

  tick() {
    if (!this.client.connected) return;
    if (producing && this.unanswered.size < WINDOW) this.send(`${this.number}-${++this.sequence}`);
  }

  send(id) {
    const connection = this.connection;
    this.unanswered.add(id);
    this.client.watchForReceipt(id, () => {
      this.unanswered.delete(id);
      say('acknowledged', { id, connection });
    });
    say('written', { id });
    const headers = { persistent: 'true', receipt: id, [ID_HEADER]: id };
    this.client.publish({ destination: this.queue, headers, body: id });
  }

  onError(frame) {
    const id = frame.headers['receipt-id'];
    if (id !== undefined && this.unanswered.delete(id)) say('refused', { id });
  }
}

class Consumer extends Peer {
  onConnect() {
    const connection = this.connection;
    const headers = { ack: 'client-individual', 'activemq.prefetchSize': '100' };
    let acks = 0;
    const take = message => {
      const id = message.headers[ID_HEADER];
      const message_id = this.unescaped(message.headers['message-id']);
      const redelivered = message.headers.redelivered === 'true';
      const destination = message.headers.destination;
      say('received', { id, message_id, redelivered, destination, consumer: this.number, connection });
      const receipt = `ack-${connection}-${++acks}`;
      this.client.watchForReceipt(receipt, () => say('consumed', { id, message_id }));
      if (this.client.connected) message.ack({ receipt });
    };
    this.client.subscribe(this.queue, take, headers);
  }

  // stompjs reads escapes in 1.2 only; in 1.1 a colon comes as it stands in the frame.
  unescaped(text) {
    return this.client.connectedVersion === '1.1' ? text.replaceAll('\\c', ':') : text;
  }
}

[QUEUE_ONE, QUEUE_ONE, QUEUE_TWO, QUEUE_TWO].forEach((queue, number) => new Producer(number, queue));
[QUEUE_ONE, QUEUE_TWO, QUEUE_TWO].forEach((queue, number) => new Consumer(number, queue));

const input = createInterface({ input: process.stdin });
input.on('line', line => {
  if (line === 'stop') producing = false;
});
input.on('close', () => process.exit(0));
