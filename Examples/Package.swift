// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

// A package of its own, so that who uses the library does not download what only its examples need.
let package = Package(
    name: "millrace-examples",
    dependencies: [
        .package(name: "millrace", path: ".."),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
    ],
    targets: [
        .executableTarget(
            name: "echo-server",
            dependencies: [
                .product(name: "NetAPI", package: "millrace"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        .target(name: "RESPCodec", swiftSettings: strict),
        .target(name: "KVStore", dependencies: ["RESPCodec"], swiftSettings: strict),
        .executableTarget(
            name: "kv-server",
            dependencies: [
                "KVStore", "RESPCodec",
                .product(name: "NetAPI", package: "millrace"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        .testTarget(name: "RESPCodecTests", dependencies: ["RESPCodec"], swiftSettings: strict),
        .testTarget(
            name: "KVStoreTests", dependencies: ["KVStore", "RESPCodec"], swiftSettings: strict),
        .testTarget(name: "KVServerTests", swiftSettings: strict),
    ]
)
