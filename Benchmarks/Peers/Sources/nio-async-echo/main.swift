// An echo server on SwiftNIO with a task for each connection, by NIOAsyncChannel: what its own
// documentation shows for structured concurrency.
import Glibc
import NIOCore
import NIOPosix
import Signals

// Threads of Swift's pool do not inherit a mask, so the signals end the program where they come.
for number in [SIGTERM, SIGINT] { signal(number) { _ in _exit(0) } }
let (port, loops) = portAndLoops()
let group = MultiThreadedEventLoopGroup(numberOfThreads: loops)
let listener = try await ServerBootstrap(group: group)
    .serverChannelOption(.backlog, value: 4096)
    .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
    .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
    .bind(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
            try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }
    }
announce(port: listener.channel.localAddress?.port ?? port)
try await withThrowingDiscardingTaskGroup { tasks in
    try await listener.executeThenClose { clients in
        for try await client in clients {
            tasks.addTask {
                // A reset ends one connection, not the server.
                try? await client.executeThenClose { inbound, outbound in
                    for try await bytes in inbound { try await outbound.write(bytes) }
                }
            }
        }
    }
}
