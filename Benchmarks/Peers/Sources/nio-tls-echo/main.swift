// An echo server over TLS on SwiftNIO, like nio-echo, with NIOSSL as its own examples use it.
import Glibc
import NIOCore
import NIOPosix
import NIOSSL
import Signals

final class Echo: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.write(data, promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

let signals = TerminationSignals()
let arguments = CommandLine.arguments
guard arguments.count == 4, let port = UInt16(arguments[1]) else {
    _ = "usage: nio-tls-echo PORT CERTIFICATE KEY\n".withCString {
        write(STDERR_FILENO, $0, strlen($0))
    }
    exit(2)
}
let chain = try NIOSSLCertificate.fromPEMFile(arguments[2])
let key = try NIOSSLPrivateKey(file: arguments[3], format: .pem)
let context = try NIOSSLContext(
    configuration: .makeServerConfiguration(
        certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key)))
let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
let server = try ServerBootstrap(group: group)
    .serverChannelOption(.backlog, value: 4096)
    .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
    .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
    .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
            let handlers = channel.pipeline.syncOperations
            try handlers.addHandler(NIOSSLServerHandler(context: context))
            try handlers.addHandler(Echo())
        }
    }
    .bind(host: "127.0.0.1", port: Int(port))
    .wait()
announce(port: server.localAddress?.port ?? Int(port))
signals.wait()
try server.close().wait()
try group.syncShutdownGracefully()
