// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]
let netAPI: Target.Dependency = .product(name: "NetAPI", package: "millrace")
let argumentParser: Target.Dependency = .product(
    name: "ArgumentParser", package: "swift-argument-parser")

// A package of its own, so that who uses the library does not download what only its examples
// need.
let package = Package(
    name: "millrace-examples",
    dependencies: [
        .package(name: "millrace", path: ".."),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
    ],
    targets: [
        // The command line that every example server has.
        .target(
            name: "ServerCommand", dependencies: [netAPI, argumentParser], swiftSettings: strict),
        .executableTarget(
            name: "echo-server", dependencies: ["ServerCommand", netAPI, argumentParser],
            swiftSettings: strict),

        // HTTP/1.1 without sockets: bytes in, requests out.
        .target(name: "HTTPCodec", swiftSettings: strict),
        .executableTarget(
            name: "http-server",
            dependencies: ["HTTPCodec", "ServerCommand", netAPI, argumentParser],
            swiftSettings: strict),
        .testTarget(
            name: "HTTPCodecTests", dependencies: ["HTTPCodec", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "HTTPServerTests", dependencies: ["HTTPCodec", "TestSupport"],
            swiftSettings: strict),

        // The Redis protocol and what it acts on, both without sockets.
        .target(name: "RESPCodec", swiftSettings: strict),
        .target(name: "KVStore", dependencies: ["RESPCodec"], swiftSettings: strict),
        .executableTarget(
            name: "kv-server",
            dependencies: [
                "KVStore", "RESPCodec", "ServerCommand", netAPI, argumentParser,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "RESPCodecTests", dependencies: ["RESPCodec", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "KVStoreTests", dependencies: ["KVStore", "RESPCodec"], swiftSettings: strict),
        .testTarget(name: "KVServerTests", dependencies: ["TestSupport"], swiftSettings: strict),

        // What Benchmarks/fairness measures. Here, where the library is built for examples anyway
        // and the command line is at hand; no example, so not among Sources.
        .executableTarget(
            name: "fairness-server", dependencies: ["ServerCommand", netAPI, argumentParser],
            path: "Tests/fairness-server", swiftSettings: strict),

        // Random use of the whole library, with strict accounts: `make stress`.
        .executableTarget(
            name: "stress", dependencies: [netAPI, argumentParser],
            path: "Tests/stress", swiftSettings: strict),

        // What Scripts/soak keeps busy: `make soak`.
        .executableTarget(
            name: "soak-server", dependencies: ["ServerCommand", netAPI, argumentParser],
            path: "Tests/soak-server", swiftSettings: strict),

        // What several tests need: inputs that are sent to codec and server, running a program.
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: strict),
    ]
        + ["chat", "proxy", "blocking-echo", "udp-echo"].map { name in
            .executableTarget(
                name: name, dependencies: [.product(name: "NetAPI", package: "millrace")],
                swiftSettings: strict)
        }
)
