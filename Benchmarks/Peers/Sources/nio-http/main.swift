// SwiftNIO's HTTP/1.1 pipeline with a handler that sends the usual greeting of benchmarks.
import NIOCore
import NIOHTTP1
import NIOPosix
import Signals

final class Plaintext: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private static let body = ByteBuffer(string: "Hello, World!")
    private let head = HTTPResponseHead(
        version: .http1_1, status: .ok,
        headers: [
            "Server": "nio", "Content-Type": "text/plain",
            "Content-Length": String(Plaintext.body.readableBytes),
        ])

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .end = unwrapInboundIn(data) else { return }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(Self.body))), promise: nil)
        context.write(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

let signals = TerminationSignals()
let (port, loops) = portAndLoops()
let group = MultiThreadedEventLoopGroup(numberOfThreads: loops)
let server = try ServerBootstrap(group: group)
    .serverChannelOption(.backlog, value: 4096)
    .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
    .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
    .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
            // SwiftNIO's assistance answers pipelined requests one after the other, each with a
            // flush. The handler above keeps their order without it.
            try channel.pipeline.syncOperations.configureHTTPServerPipeline(
                withPipeliningAssistance: false)
            try channel.pipeline.syncOperations.addHandler(Plaintext())
        }
    }
    .bind(host: "127.0.0.1", port: port)
    .wait()
announce(port: server.localAddress?.port ?? port)
signals.wait()
try server.close().wait()
try group.syncShutdownGracefully()
