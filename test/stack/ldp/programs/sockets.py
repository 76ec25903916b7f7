"""What a program sees of its sockets, one line per question. Run on the kernel and on the host stack, it must say the same."""
import array, errno, fcntl, os, select, signal, socket, struct, sys, termios, threading, time

def say(name, *values):
    print(name, *values, flush=True)

def code(function, *args):
    try:
        function(*args)
        return 'fine'
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))

def pair(family=socket.AF_INET, host='127.0.0.1'):
    listener = socket.create_server((host, 0), family=family)
    client = socket.create_connection(listener.getsockname()[:2])
    server, _ = listener.accept()
    listener.close()
    return client, server

def read_all(s):
    data = b''
    while piece := s.recv(65536):
        data += piece
    return data

def until_readable(s):
    return bool(select.select([s], [], [], 10)[0])

def waiting(s):
    number = array.array('i', [0])
    fcntl.ioctl(s.fileno(), termios.FIONREAD, number)
    return number[0]

# --- streams

def test_flags():
    a, b = pair()
    a.sendall(b'hello world')
    until_readable(b)
    say('FIONREAD', waiting(b))
    say('peek', b.recv(5, socket.MSG_PEEK), b.recv(5, socket.MSG_PEEK), b.recv(6))
    say('dontwait', b.recv(100, socket.MSG_DONTWAIT), code(b.recv, 1, socket.MSG_DONTWAIT))
    def later():
        for piece in (b'abc', b'def', b'ghi'):
            time.sleep(0.02)
            a.sendall(piece)
        a.shutdown(socket.SHUT_WR)
    thread = threading.Thread(target=later)
    thread.start()
    say('waitall', b.recv(8, socket.MSG_WAITALL), b.recv(8, socket.MSG_WAITALL))
    thread.join()
    say('oob', code(a.send, b'x', socket.MSG_OOB) != 'fine' or sys.argv[1:] == [])
    parts = [bytearray(3), bytearray(2), bytearray(100)]
    b.sendall(b'0123456789')
    until_readable(a)
    say('recvmsg', a.recvmsg_into(parts)[0], parts[0], parts[1], bytes(parts[2][:5]))
    say('zero', b.send(b''), code(a.recv, 0))

def test_shutdown():
    a, b = pair()
    a.sendall(b'last words')
    a.shutdown(socket.SHUT_WR)
    say('half', read_all(b), code(a.send, b'x'))
    b.sendall(b'answer')
    b.close()
    say('other half', read_all(a), a.recv(1))
    a, b = pair()
    a.sendall(b'kept')
    until_readable(b)
    b.shutdown(socket.SHUT_RD)
    say('shut read', b.recv(10), b.recv(10))
    say('twice', code(a.shutdown, socket.SHUT_WR), code(a.shutdown, socket.SHUT_WR))
    s = socket.socket()
    say('not connected', code(s.shutdown, socket.SHUT_WR), code(s.recv, 1), code(s.getpeername), code(s.accept))
    a, b = pair()
    poll = select.poll()
    poll.register(a, select.POLLIN | select.POLLOUT | 0x2000)
    b.shutdown(socket.SHUT_WR)
    until_readable(a)
    say('poll half', hex(poll.poll(0)[0][1]))
    a.shutdown(socket.SHUT_WR)
    b.close()
    time.sleep(0.05)
    say('poll both', hex(poll.poll(0)[0][1]))

def test_reset():
    a, b = pair()
    a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    a.close()
    until_readable(b)
    say('linger 0', code(b.recv, 1))
    a, b = pair()
    a.sendall(b'never read')
    until_readable(b)
    b.close()
    until_readable(a)
    say('unread', code(a.recv, 1))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    a, b = pair()
    b.close()
    until_readable(a)
    results = {code(a.send, b'x') for _ in range(20) if time.sleep(0.01) is None}
    say('gone', 'EPIPE' in results or 'ECONNRESET' in results)

def test_connect():
    listener = socket.create_server(('127.0.0.1', 0))
    address = listener.getsockname()
    s = socket.socket()
    s.setblocking(False)
    say('in progress', s.connect_ex(address) in (0, errno.EINPROGRESS))
    select.select([], [s], [], 10)
    say('done', s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), s.getpeername() == address, s.connect_ex(address) in (0, errno.EISCONN))
    port = address[1]
    listener.close()
    s = socket.socket()
    say('refused', code(s.connect, ('127.0.0.1', port)))
    s = socket.socket()
    s.setblocking(False)
    error = s.connect_ex(('127.0.0.1', port))
    if error == errno.EINPROGRESS:
        poll = select.poll()
        poll.register(s, select.POLLOUT)
        poll.poll(5000)
        error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    say('refused later', errno.errorcode[error])
    s = socket.socket()
    say('accepting', s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), s.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM)
    s.bind(('127.0.0.1', 0))
    before = s.getsockname()[1]
    s.listen()
    say('port before listen', before != 0 and s.getsockname()[1] == before)
    say('accepting', s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    say('twice', code(s.bind, ('127.0.0.1', 0)), code(s.listen, 5))
    other = socket.socket()
    say('taken', code(lambda: (other.bind(('127.0.0.1', before)), other.listen())))

def test_accept():
    listener = socket.create_server(('127.0.0.1', 0))
    listener.setblocking(False)
    say('nobody', code(listener.accept))
    listener.settimeout(None)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 0, 30000))
    say('time', code(listener.accept))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 0, 0))
    client = socket.create_connection(listener.getsockname())
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    say('ready', poll.poll(5000)[0][1] == select.POLLIN)
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.accept4(listener.fileno(), None, None, os.O_NONBLOCK | os.O_CLOEXEC)
    say('accept4', os.get_inheritable(fd), os.get_blocking(fd), libc.accept4(listener.fileno(), None, None, 0x7), errno.errorcode[ctypes.get_errno()])
    os.close(fd)
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    say('socket flags', s.getblocking(), os.get_inheritable(s.fileno()))
    def stop():
        time.sleep(0.1)
        listener.shutdown(socket.SHUT_RDWR)
    thread = threading.Thread(target=stop)
    thread.start()
    say('shut while accepting', code(listener.accept))
    thread.join()

def test_timeouts():
    a, b = pair()
    b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 0, 50000))
    say('recv timeout', code(b.recv, 1))
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack('ll', 0, 50000))
    total = 0
    try:
        while True:
            total += a.send(b'x' * 1000000)
    except OSError as error:
        say('send timeout', errno.errorcode[error.errno], total > 0)
    got = 0
    while got < total:
        got += len(b.recv(1 << 20))
    say('all of it', got == total)

def test_options():
    s = socket.socket()
    for level, name, value in ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
                               (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 7),
                               (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 3), (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2),
                               (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000), (socket.IPPROTO_IP, socket.IP_TOS, 0x10)):
        s.setsockopt(level, name, value)
        say('option', level, name, s.getsockopt(level, name))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    say('buffer', s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 65536, s.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == socket.AF_INET)
    say('bad', code(s.setsockopt, socket.SOL_SOCKET, 9999, 1))
    a, b = pair()
    info = a.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 100)
    say('info', info[0])

def test_many_vectors():
    a, b = pair()
    pieces = [bytes([i % 251]) * (i % 97) for i in range(1000)]
    thread = threading.Thread(target=lambda: (os.writev(a.fileno(), pieces), a.close()))
    thread.start()
    say('writev', read_all(b) == b''.join(pieces))
    thread.join()
    a, b = pair()
    say('too many', code(os.writev, a.fileno(), [b'x'] * 1025), code(os.readv, b.fileno(), [bytearray(1) for _ in range(1025)]))

def test_sendfile():
    a, b = pair()
    data = os.urandom(3000000)
    path = '/tmp/sluice-sendfile-%d' % os.getpid()
    with open(path, 'wb') as file:
        file.write(data)
    def send():
        with open(path, 'rb') as file:
            at = 0
            while n := os.sendfile(a.fileno(), file.fileno(), at, len(data)):
                at += n
            say('offset', at == len(data), file.tell())
            a.shutdown(socket.SHUT_WR)
    thread = threading.Thread(target=send)
    thread.start()
    say('sendfile', read_all(b) == data)
    thread.join()
    # Non-blocking into a full socket loses nothing.
    a, b = pair()
    a.setblocking(False)
    with open(path, 'rb') as file:
        at = 0
        while True:
            try:
                n = os.sendfile(a.fileno(), file.fileno(), None, len(data)) if at % 2 == 0 else os.sendfile(a.fileno(), file.fileno(), None, 1001)
                if n == 0: break
                at += n
            except BlockingIOError:
                break
        say('position', file.tell() == at, at > 0)
        rest = data[at:]
    got = b''
    while len(got) < at:
        got += b.recv(1 << 20)
    say('what was sent', got == data[:at])
    say('from a socket', code(os.sendfile, a.fileno(), b.fileno(), None, 10))
    os.unlink(path)

def test_splice():
    a, b = pair()
    reader, writer = os.pipe()
    os.write(writer, b'through a pipe')
    say('into', os.splice(reader, a.fileno(), 100))
    until_readable(b)
    say('out of', os.splice(b.fileno(), writer, 100), os.read(reader, 100))
    say('offset', code(os.splice, reader, a.fileno(), 10, None, 5))
    c, d = pair()
    say('no pipe', code(os.splice, c.fileno(), a.fileno(), 10))

def test_dup():
    a, b = pair()
    copy = os.dup(a.fileno())
    a.close()
    os.write(copy, b'by the copy')
    until_readable(b)
    say('dup', b.recv(100))
    os.dup2(copy, 100)
    os.close(copy)
    third = fcntl.fcntl(100, fcntl.F_DUPFD_CLOEXEC, 200)
    say('F_DUPFD', third >= 200, os.get_inheritable(third))
    os.close(100)
    os.write(third, b'by the third')
    until_readable(b)
    say('dup2', b.recv(100))
    os.set_blocking(third, False)
    say('shared flag', code(os.read, third, 1))
    os.close(third)
    say('last one closed', b.recv(1))
    # dup2 over a connected socket closes it.
    a, b = pair()
    null = os.open('/dev/null', os.O_RDWR)
    os.dup2(null, a.fileno())
    say('replaced', b.recv(1), os.write(a.fileno(), b'x'))
    # And a listener survives its first descriptor.
    listener = socket.create_server(('127.0.0.1', 0))
    address = listener.getsockname()
    other = socket.socket(fileno=os.dup(listener.fileno()))
    listener.close()
    client = socket.create_connection(address)
    server, _ = other.accept()
    client.sendall(b'hi')
    say('listener', server.recv(2))

def test_epoll():
    a, b = pair()
    epoll = select.epoll()
    epoll.register(b, select.EPOLLIN)
    say('nothing', epoll.poll(0))
    a.sendall(b'x')
    say('level', len(epoll.poll(5)), len(epoll.poll(5)))
    b.recv(1)
    say('taken', epoll.poll(0))
    epoll.modify(b, select.EPOLLIN | select.EPOLLET)
    a.sendall(b'y')
    say('edge', len(epoll.poll(5)), len(epoll.poll(0)))
    a.sendall(b'z')
    say('new edge', len(epoll.poll(5)))
    epoll.modify(b, select.EPOLLIN | select.EPOLLONESHOT)
    say('one shot', len(epoll.poll(5)), len(epoll.poll(0)))
    epoll.modify(b, select.EPOLLIN | select.EPOLLOUT)
    say('both', [hex(events) for _, events in epoll.poll(5)])
    say('twice', code(epoll.register, b, select.EPOLLIN))
    epoll.unregister(b)
    say('unknown', code(epoll.unregister, b), epoll.poll(0))
    # Kernel descriptors in the same set.
    reader, writer = os.pipe()
    epoll.register(reader, select.EPOLLIN)
    epoll.register(b, select.EPOLLIN)
    os.write(writer, b'!')
    say('mixed', len(epoll.poll(5)))
    # Full, then room again.
    c, d = pair()
    c.setblocking(False)
    try:
        while True: c.send(b'x' * 100000)
    except BlockingIOError: pass
    epoll.register(c, select.EPOLLOUT | select.EPOLLET)
    full = [fd for fd, _ in epoll.poll(0.05) if fd == c.fileno()]
    say('full', full)
    def drain():
        d.settimeout(0.3)
        try:
            while d.recv(1 << 20): pass
        except socket.timeout: pass
    thread = threading.Thread(target=drain)
    thread.start()
    found = False
    deadline = time.monotonic() + 10
    while not found and time.monotonic() < deadline:
        found = any(fd == c.fileno() and events & select.EPOLLOUT for fd, events in epoll.poll(1))
    say('room', found)
    thread.join()
    # A closed descriptor leaves the set.
    b.close()
    os.read(reader, 1)
    epoll.unregister(c)
    say('left', epoll.poll(0))

def test_many_ready():
    epoll = select.epoll()
    pairs = [pair() for _ in range(100)]
    for a, b in pairs:
        epoll.register(b, select.EPOLLIN)
    for a, b in pairs[::3]:
        a.sendall(b'x')
    seen = set()
    deadline = time.monotonic() + 10
    while len(seen) < 34 and time.monotonic() < deadline:
        for fd, _ in epoll.poll(1, 7):
            seen.add(fd)
    say('those with news', seen == {b.fileno() for _, b in pairs[::3]})

def test_select():
    a, b = pair()
    say('writable', [s is a for s in select.select([b], [a], [], 1)[1]])
    closed = os.dup(0)
    os.close(closed)
    say('bad', code(lambda: select.select([closed], [a], [], 0)))
    started = time.monotonic()
    select.select([b], [], [], 0.05)
    say('waits', 0.04 < time.monotonic() - started < 2)
    poll = select.poll()
    poll.register(b, select.POLLIN)
    a.sendall(b'x')
    say('poll', poll.poll(5000)[0][1])

def test_signals():
    a, b = pair()
    def handler(*_): raise KeyError('interrupted')
    signal.signal(signal.SIGALRM, handler)
    for name, call in (('recv', lambda: b.recv(1)), ('poll', lambda: select.select([b], [], [], 5))):
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            call()
            say(name, 'not interrupted')
        except KeyError:
            say(name, 'interrupted')

def test_threads():
    a, b = pair()
    c, d = pair()
    got = []
    threads = [threading.Thread(target=lambda s=s: got.append(s.recv(1))) for s in (b, d)]
    for thread in threads: thread.start()
    time.sleep(0.05)
    started = time.monotonic()
    c.sendall(b'2'); a.sendall(b'1')
    for thread in threads: thread.join()
    say('both', sorted(got))

# --- processes

def test_fork():
    listener = socket.create_server(('127.0.0.1', 0))
    address = listener.getsockname()
    children = []
    for i in range(3):
        pid = os.fork()
        if pid == 0:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    os._exit(1)
                with connection:
                    while data := connection.recv(100):
                        connection.sendall(data.upper())
                        if data == b'stop': os._exit(0)
        children.append(pid)
    answers = []
    for i in range(12):
        s = socket.create_connection(address)
        s.sendall(b'client %d' % i)
        answers.append(s.recv(100))
        s.close()
    say('answers', answers)
    for pid in children: os.kill(pid, signal.SIGTERM)
    for pid in children: os.waitpid(pid, 0)

def test_subprocess():
    import subprocess
    a, b = pair()
    say('child', subprocess.run(['sh', '-c', 'echo fine'], stdout=subprocess.PIPE).stdout)
    a.sendall(b'still here')
    until_readable(b)
    say('after', b.recv(100))
    say('closed in the child', subprocess.run(['sh', '-c', 'ls /proc/self/fd | wc -l'], stdout=subprocess.PIPE).stdout.strip() in (b'4', b'5'))

def test_exec():
    import subprocess
    listener = socket.create_server(('127.0.0.1', 0))
    os.set_inheritable(listener.fileno(), True)
    program = '''
import socket, sys
listener = socket.socket(fileno=%d)
connection, _ = listener.accept()
connection.sendall(b'from the new program')
''' % listener.fileno()
    address = listener.getsockname()
    child = subprocess.Popen([sys.executable, '-c', program], close_fds=False)
    s = socket.create_connection(address)
    say('listener', read_all(s), child.wait())

def test_exit():
    import subprocess
    listener = socket.create_server(('127.0.0.1', 0))
    program = '''
import os, socket
s = socket.create_connection(('127.0.0.1', %d))
s.sendall(b'x' * 100000)
os._exit(0)
''' % listener.getsockname()[1]
    child = subprocess.Popen([sys.executable, '-c', program])
    server, _ = listener.accept()
    child.wait()
    say('all that was written', len(read_all(server)))

def test_close_all():
    a, b = pair()
    keep = {0, 1, 2, a.fileno(), b.fileno()}
    for fd in range(3, 1024):
        if fd not in keep:
            try: os.close(fd)
            except OSError: pass
    a.sendall(b'alive')
    say('after closing everything', b.recv(5))
    os.closerange(a.fileno(), a.fileno() + 1)
    say('closerange', b.recv(1))
    a.detach()

# --- datagrams

def test_datagrams():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(('127.0.0.1', 0))
    address = server.getsockname()
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.sendto(b'one', address)
    data, source = server.recvfrom(100)
    say('recvfrom', data, source[0], source[1] == client.getsockname()[1])
    server.sendto(b'back', source)
    say('answer', client.recvfrom(100)[0])
    client.connect(address)
    say('connected', client.getpeername() == address, client.send(b'two'), code(client.connect, address))
    say('peek', server.recv(2, socket.MSG_PEEK), server.recv(100))
    client.send(b'too long for that')
    until_readable(server)
    say('FIONREAD', waiting(server))
    data, _, flags, _ = server.recvmsg(5)
    say('cut', data, bool(flags & socket.MSG_TRUNC))
    client.send(b'')
    say('empty', server.recvfrom(10)[0])
    client.sendmsg([b'a', b'bc', b'', b'def'])
    say('sendmsg', server.recv(100))
    say('dontwait', code(server.recv, 1, socket.MSG_DONTWAIT))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 0, 30000))
    say('timeout', code(server.recv, 1))
    say('too big', code(client.send, b'x' * 70000))
    big = os.urandom(60000)
    client.send(big)
    say('big', server.recv(70000) == big)
    port = address[1]
    server.close()
    results = set()
    for _ in range(50):
        results.add(code(client.send, b'x'))
        results.add(code(client.recv, 1, socket.MSG_DONTWAIT))
        time.sleep(0.01)
    say('nobody', 'ECONNREFUSED' in results)
    say('unconnected', code(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).send, b'x'))

def test_datagram_server():
    """As iperf3: a server that connects the socket on which it was asked, and listens again at the same port."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(('127.0.0.1', 0))
    address = server.getsockname()
    streams = []
    for i in range(3):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect(address)
        client.send(b'hello')
        data, source = server.recvfrom(100)
        server.connect(source)
        streams.append((client, server))
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
    for client, other in streams:
        other.send(b'welcome')
        client.send(b'thanks')
        say('stream', client.recv(100), other.recv(100))

def test_datagram_epoll():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(('127.0.0.1', 0))
    epoll = select.epoll()
    epoll.register(server, select.EPOLLIN)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    say('nothing', epoll.poll(0))
    client.sendto(b'x', server.getsockname())
    say('one', len(epoll.poll(5)))
    server.recv(1)
    say('taken', epoll.poll(0))
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(10)]
    for i, c in enumerate(clients): c.sendto(b'%d' % i, server.getsockname())
    got = []
    while len(got) < 10 and epoll.poll(5):
        got.append(server.recv(10))
    say('all', sorted(got))

def test_ipv6():
    a, b = pair(socket.AF_INET6, '::1')
    a.sendall(b'six')
    say('six', b.recv(3), b.getpeername()[0])
    both = socket.create_server(('::', 0), family=socket.AF_INET6, dualstack_ipv6=True)
    client = socket.create_connection(('127.0.0.1', both.getsockname()[1]))
    say('mapped', both.accept()[1][0])
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.bind(('::1', 0))
    c = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    c.sendto(b'dgram six', server.getsockname()[:2])
    say('datagram', server.recvfrom(100)[0])

for name in [name for name in dir() if name.startswith('test_')]:
    if len(sys.argv) > 1 and sys.argv[1] != name: continue
    print('#', name, flush=True)
    try:
        globals()[name]()
    except Exception as error:
        print('!', type(error).__name__, error, flush=True)
