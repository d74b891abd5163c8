/** A mail server that keeps what it is sent: just enough SMTP for one client. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

export const SMTP_LOGIN = { user: 'mailer', password: 'mail-password' };

function speak(socket, messages, settings) {
  const say = (line) => socket.write(`${line}\r\n`);
  let data = null;
  let authenticated = false;
  socket.on('error', () => {});
  say('220 test ESMTP');
  createInterface({ input: socket }).on('line', (line) => {
    if (data !== null) {
      if (line !== '.') return data.push(line);
      messages.push(data.join('\n'));
      data = null;
      return say('250 taken');
    }
    const [verb, kind, initial] = line.split(' ');
    switch (verb.toUpperCase()) {
      case 'EHLO':
        return socket.write('250-test\r\n250 AUTH PLAIN\r\n');
      case 'AUTH': {
        const [, user, password] = Buffer.from(initial ?? '', 'base64').toString().split('\0');
        authenticated = kind === 'PLAIN' && user === SMTP_LOGIN.user && password === SMTP_LOGIN.password && !settings.refuse;
        return say(authenticated ? '235 welcome' : '535 login refused');
      }
      case 'MAIL':
        return say(authenticated ? '250 ok' : '530 log in first');
      case 'RCPT':
        return say('250 ok');
      case 'DATA':
        data = [];
        return say('354 go on');
      case 'QUIT':
        say('221 bye');
        return socket.end();
      default:
        return say('502 unknown');
    }
  });
}

/** @returns {Promise<{port: number, messages: string[], settings: {refuse: boolean}, stop: () => Promise<void>}>} */
export async function startSmtp() {
  const messages = [];
  const settings = { refuse: false };
  const sockets = new Set();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    speak(socket, messages, settings);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: server.address().port,
    messages,
    settings,
    async stop() {
      sockets.forEach((socket) => socket.destroy());
      server.close();
      await once(server, 'close');
    },
  };
}
