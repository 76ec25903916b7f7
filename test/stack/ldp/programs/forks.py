"""Programs of several processes with one connection: the first argument says which, the second is a port."""
import os, socket, socketserver, subprocess, sys, threading

what, port, *rest = sys.argv[1:]
here = (os.environ.get('HOST', '127.0.0.1'), int(port))

def echo(c):
    while data := c.recv(65536):
        c.sendall(data)

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        echo(self.request)

class ForkingServer(socketserver.ForkingMixIn, socketserver.TCPServer):
    request_queue_size = 200
    max_children = 100

if what == 'serve':
    ForkingServer(here, Echo).serve_forever(poll_interval=0.05)
elif what == 'serve-one':
    # Says who serves; the parent goes on holding the connection, and does nothing with it.
    listener = socket.create_server(here)
    c, _ = listener.accept()
    child = os.fork()
    if child == 0:
        listener.close()
        c.sendall(b'%d %d\n' % (os.getppid(), os.getpid()))
        echo(c)
        os._exit(0)
    if rest: c.close()
    os.waitpid(child, 0)
elif what == 'start':
    # As inetd does.
    how, command = rest
    listener = socket.create_server(here)
    while True:
        c, _ = listener.accept()
        fd = c.fileno()
        if how == 'fork':
            if os.fork() == 0:
                os.dup2(fd, 0)
                os.dup2(fd, 1)
                os.execvp('sh', ['sh', '-c', command])
        elif how == 'popen': subprocess.Popen(command, shell=True, stdin=c, stdout=c)
        else:
            actions = [(os.POSIX_SPAWN_DUP2, fd, 0), (os.POSIX_SPAWN_DUP2, fd, 1)]
            os.posix_spawn('/bin/sh', ['sh', '-c', command], os.environ, file_actions=actions)
        c.close()
elif what == 'two':
    # A child writes and the parent reads; an echo server of two processes at the other end.
    listener = socket.create_server(here)
    if os.fork() == 0:
        c, _ = listener.accept()
        if os.fork() == 0:
            echo(c)
            os._exit(0)
        c.close()
        os.wait()
        os._exit(0)
    s = socket.create_connection(here)
    data = os.urandom(int(rest[0]))
    if os.fork() == 0:
        for at in range(0, len(data), 50000):
            s.sendall(data[at:at + 50000])
        s.shutdown(socket.SHUT_WR)
        os._exit(0)
    got = b''
    while piece := s.recv(65536):
        got += piece
    print('same' if got == data else 'different', end=' ')
    try:
        s.sendall(b'x')
        print('sent')
    except BrokenPipeError:
        print('shut')
    os.wait()
    os.wait()
elif what == 'clients':
    # Of an echo server: so many at once.
    def client(i):
        data, got = os.urandom(200000 + i), b''
        s = socket.create_connection(here)
        writer = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
        writer.start()
        while piece := s.recv(65536):
            got += piece
        writer.join()
        os.write(1, b'same\n' if got == data else b'different\n')
    clients = [threading.Thread(target=client, args=(i,)) for i in range(int(rest[0]))]
    for c in clients: c.start()
    for c in clients: c.join()
elif what == 'daemon':
    # The parent leaves at once, as daemons do; the child does not look for connections before it is told to.
    listener = socket.create_server(here)
    pid = os.fork()
    if pid > 0:
        listener.close()
        os.write(1, b'closed\n')
        os.waitpid(pid, 0)
    else:
        if rest: listener.close()
        sys.stdin.readline()
        if not rest:
            c, _ = listener.accept()
            c.sendall(b'served')
        os._exit(0)
elif what == 'pass':
    listener = socket.create_server(here)
    s = socket.create_connection(here)
    a, b = socket.socketpair()
    try:
        socket.send_fds(a, [b'x'], [s.fileno()])
        print('sent')
    except OSError as error:
        print(error.errno)
