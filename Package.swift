// swift-tools-version: 6.2
import PackageDescription

/// The settings of every Swift target in this package. Warnings are errors only when this package
/// is the root: SwiftPM drops the setting when the package is a dependency (SE-0480).
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
        // Linked statically, so that a built server needs no liburing.so at run time.
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
        // The third driver: a script or a seed replaces the kernel. Not part of the product.
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
