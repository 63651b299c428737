// swift-tools-version: 6.2
import PackageDescription

/// What every target of this package is built with. Warnings are errors here, and only here:
/// SwiftPM drops this setting when the package is a dependency (SE-0480).
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableExperimentalFeature("Lifetimes"),
    .treatAllWarnings(as: .error),
]

let package = Package(
    name: "millrace",
    products: [
        .library(name: "NetAPI", targets: ["NetAPI"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0")
    ],
    targets: [
        .target(name: "CLinux"),
        .target(name: "EventLoop", dependencies: ["CLinux"], swiftSettings: strict),
        // Static, so that a built server needs no liburing.so where it runs.
        .target(
            name: "CURing", dependencies: ["CLinux"],
            linkerSettings: [.linkedLibrary(":liburing.a")]),
        .target(name: "Epoll", dependencies: ["EventLoop", "CLinux"], swiftSettings: strict),
        .target(
            name: "Uring", dependencies: ["EventLoop", "CURing", "CLinux"],
            swiftSettings: strict),
        .target(
            name: "NetAPI",
            dependencies: [
                "EventLoop", "Epoll", "Uring", "CLinux",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        // The third driver: no kernel, a script or a seed. Not part of the product.
        .target(name: "Simulation", dependencies: ["EventLoop"], swiftSettings: strict),

        .testTarget(
            name: "EventLoopTests", dependencies: ["EventLoop"], swiftSettings: strict),
        .testTarget(
            name: "DriverContractTests",
            dependencies: ["EventLoop", "Epoll", "Uring", "Simulation", "CLinux"],
            swiftSettings: strict),
        .testTarget(
            name: "SimulationTests",
            dependencies: ["EventLoop", "NetAPI", "Simulation"], swiftSettings: strict),
        .testTarget(
            name: "NetAPITests", dependencies: ["NetAPI", "EventLoop", "CLinux"],
            swiftSettings: strict),
        .testTarget(name: "TidyTests", swiftSettings: strict),
    ]
)
