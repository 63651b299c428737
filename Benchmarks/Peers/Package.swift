// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]
let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
]

// A separate package, so that neither the library's users nor its usual checks download SwiftNIO.
let package = Package(
    name: "millrace-peers",
    dependencies: [
        .package(name: "millrace", path: "../.."),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", exact: "2.37.6"),
    ],
    targets: [
        .target(name: "Signals", swiftSettings: strict),
        .executableTarget(
            name: "nio-echo", dependencies: nio + ["Signals"], swiftSettings: strict),
        .executableTarget(
            name: "nio-async-echo", dependencies: nio + ["Signals"], swiftSettings: strict),
        .executableTarget(
            name: "nio-http",
            dependencies: nio + ["Signals", .product(name: "NIOHTTP1", package: "swift-nio")],
            swiftSettings: strict),
        .executableTarget(
            name: "nio-tls-echo",
            dependencies: nio + ["Signals", .product(name: "NIOSSL", package: "swift-nio-ssl")],
            swiftSettings: strict),
        .executableTarget(
            name: "timeout-echo",
            dependencies: [.product(name: "NetAPI", package: "millrace")], swiftSettings: strict),
    ]
)
