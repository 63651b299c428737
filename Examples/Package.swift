// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]
let netAPI: Target.Dependency = .product(name: "NetAPI", package: "millrace")
let netAPITesting: Target.Dependency = .product(name: "NetAPITesting", package: "millrace")
let argumentParser: Target.Dependency = .product(
    name: "ArgumentParser", package: "swift-argument-parser")

// The examples are a package of their own, so that users of the library do not download the
// dependencies of the examples.
let package = Package(
    name: "millrace-examples",
    dependencies: [
        // The traits are for ServicesTests.
        .package(name: "millrace", path: "..", traits: ["ServiceLifecycle", "Metrics"]),
        .package(path: "Tests/neighbour"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    ],
    targets: [
        // The command line that the servers share.
        .target(
            name: "ServerCommand", dependencies: [netAPI, argumentParser], swiftSettings: strict),
        // The command line of those with TLS. Apart, so that the others need no OpenSSL.
        .target(
            name: "ServerTLS",
            dependencies: [
                "ServerCommand", netAPI, .product(name: "NetTLS", package: "millrace"),
                argumentParser,
            ], swiftSettings: strict),
        .executableTarget(
            name: "echo-server",
            dependencies: ["ServerCommand", "ServerTLS", netAPI, argumentParser],
            swiftSettings: strict),

        .executableTarget(
            name: "task-echo", dependencies: ["ServerCommand", netAPI, argumentParser],
            swiftSettings: strict),

        // HTTP/1.1 without sockets: bytes in, requests out.
        .target(name: "HTTPCodec", swiftSettings: strict),
        .executableTarget(
            name: "http-server",
            dependencies: ["HTTPCodec", "ServerCommand", "ServerTLS", netAPI, argumentParser],
            swiftSettings: strict),
        .testTarget(
            name: "HTTPCodecTests", dependencies: ["HTTPCodec", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "HTTPServerTests",
            dependencies: ["HTTPCodec", "TestSupport", "http-server", netAPI, netAPITesting],
            swiftSettings: strict),

        // SHA-1 and base64. The servers with TLS need OpenSSL anyway.
        .systemLibrary(name: "CLibcrypto", providers: [.apt(["libssl-dev"])]),
        // WebSockets without sockets: handshakes and frames.
        .target(
            name: "WebSocketCodec", dependencies: ["CLibcrypto", "HTTPCodec"],
            swiftSettings: strict),
        .executableTarget(
            name: "chat",
            dependencies: [
                "HTTPCodec", "ServerCommand", "ServerTLS", "WebSocketCodec", netAPI,
                argumentParser,
            ], swiftSettings: strict),
        .testTarget(
            name: "WebSocketCodecTests",
            dependencies: ["HTTPCodec", "TestSupport", "WebSocketCodec"], swiftSettings: strict),
        .testTarget(
            name: "ChatTests",
            dependencies: [
                "TestSupport", "WebSocketCodec", "chat", netAPI, netAPITesting, argumentParser,
            ], swiftSettings: strict),

        // The Redis protocol and the commands on keys, both without sockets.
        .target(name: "RESPCodec", swiftSettings: strict),
        .target(name: "KVStore", dependencies: ["RESPCodec"], swiftSettings: strict),
        .executableTarget(
            name: "kv-server",
            dependencies: [
                "KVStore", "RESPCodec", "ServerCommand", "ServerTLS", netAPI, argumentParser,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "RESPCodecTests", dependencies: ["RESPCodec", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "KVStoreTests", dependencies: ["KVStore", "RESPCodec", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "KVServerTests",
            dependencies: ["TestSupport", "kv-server", "KVStore", netAPI, netAPITesting],
            swiftSettings: strict),

        // Calls with ids: their frames, a server, and a client that connects again.
        .target(name: "RPCCodec", dependencies: [netAPI], swiftSettings: strict),
        .executableTarget(
            name: "rpc-server",
            dependencies: ["RPCCodec", "ServerCommand", netAPI, argumentParser],
            swiftSettings: strict),
        .executableTarget(
            name: "rpc-client",
            dependencies: ["RPCCodec", "ServerCommand", netAPI, argumentParser],
            swiftSettings: strict),
        .testTarget(
            name: "RPCTests",
            dependencies: [
                "RPCCodec", "TestSupport", "rpc-client", "rpc-server", netAPI, netAPITesting,
            ], swiftSettings: strict),

        // Servers and clients as services of a group, and their counters as metrics.
        .testTarget(
            name: "ServicesTests",
            dependencies: [
                "TestSupport", netAPI, .product(name: "NetServices", package: "millrace"),
                .product(name: "NetMetrics", package: "millrace"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
                .product(name: "Logging", package: "swift-log"),
            ], swiftSettings: strict),

        // The server that `bench fairness` measures. It is in this package because the library
        // is built here anyway and the command line is available. It is no example, so it is not in
        // Sources.
        .executableTarget(
            name: "fairness-server", dependencies: ["ServerCommand", netAPI, argumentParser],
            path: "Tests/fairness-server", swiftSettings: strict),

        // Random use of the whole library, with exact counts of its results: `make stress`.
        .executableTarget(
            name: "stress", dependencies: ["TestSupport", netAPI, argumentParser],
            path: "Tests/stress", swiftSettings: strict),

        // The server that Scripts/soak keeps busy: `make soak`.
        .executableTarget(
            name: "soak-server", dependencies: ["ServerCommand", netAPI, argumentParser],
            path: "Tests/soak-server", swiftSettings: strict),

        // A program beside a package whose targets have the same names as folders of the library.
        .target(
            name: "Consumer",
            dependencies: [netAPI, .product(name: "Neighbour", package: "neighbour")],
            path: "Tests/consumer", swiftSettings: strict),

        // Code that several tests share: inputs for codec and server, and running a program.
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: strict),
    ]
        + ["proxy", "blocking-echo", "udp-echo"].map { name in
            .executableTarget(
                name: name, dependencies: [.product(name: "NetAPI", package: "millrace")],
                swiftSettings: strict)
        }
)
