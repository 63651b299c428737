// An echo server on SwiftNIO with a task for each connection, by NIOAsyncChannel: what its own
// documentation shows for structured concurrency.
import NIOCore
import NIOPosix
import Signals

let signals = TerminationSignals()
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
let serving = Task {
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
}
await Task.detached { signals.wait() }.value
serving.cancel()
try? await serving.value
try await group.shutdownGracefully()
