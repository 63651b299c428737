// swift-tools-version: 6.2
import PackageDescription

/// The settings of every Swift target in this package. Warnings are errors only when this package
/// is the root: SwiftPM drops the setting when the package is a dependency (SE-0480).
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableExperimentalFeature("Lifetimes"),
    .treatAllWarnings(as: .error),
]

let serviceLifecycle: Target.Dependency = .product(
    name: "ServiceLifecycle", package: "swift-service-lifecycle",
    condition: .when(traits: ["ServiceLifecycle"]))

let package = Package(
    name: "millrace",
    products: [
        .library(name: "NetAPI", targets: ["NetAPI"]),
        // Apart, so that only its users need OpenSSL.
        .library(name: "NetTLS", targets: ["NetTLS"]),
        // For the tests of programs: their handlers over a simulated network.
        .library(name: "NetAPITesting", targets: ["NetAPITesting"]),
        // Each is empty without its trait, so that only the programs that enable it download the
        // package behind it.
        .library(name: "NetServices", targets: ["NetServices"]),
        .library(name: "NetMetrics", targets: ["NetMetrics"]),
    ],
    traits: [
        .trait(
            name: "ServiceLifecycle",
            description: "NetServices: servers and clients in a ServiceGroup."),
        .trait(name: "Metrics", description: "NetMetrics: the counters through swift-metrics."),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        // SwiftPM neither resolves nor fetches these two while their traits are off, since every
        // product of theirs below has its trait as a condition.
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
    ],
    targets: [
        // Names of targets are global in a package graph, so every target but the products' has
        // the package's name in front. The folders have short names.
        .target(name: "CMillraceLinux", path: "Sources/CLinux"),
        .target(
            name: "MillraceEventLoop", dependencies: ["CMillraceLinux"], path: "Sources/EventLoop",
            swiftSettings: strict),
        // Linked statically, so that a built server needs no liburing.so at run time.
        .target(
            name: "CMillraceURing", dependencies: ["CMillraceLinux"], path: "Sources/CURing",
            linkerSettings: [.linkedLibrary(":liburing.a")]),
        .target(
            name: "MillraceEpoll", dependencies: ["MillraceEventLoop", "CMillraceLinux"],
            path: "Sources/Epoll", swiftSettings: strict),
        .target(
            name: "MillraceUring",
            dependencies: ["MillraceEventLoop", "CMillraceURing", "CMillraceLinux"],
            path: "Sources/Uring", swiftSettings: strict),
        .target(
            name: "NetAPI",
            dependencies: [
                "MillraceEventLoop", "MillraceEpoll", "MillraceUring", "CMillraceLinux",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        .target(
            name: "CMillraceTLS", path: "Sources/CTLS",
            linkerSettings: [.linkedLibrary("ssl"), .linkedLibrary("crypto")]),
        .target(
            name: "NetTLS", dependencies: ["NetAPI", "MillraceEventLoop", "CMillraceTLS"],
            path: "Sources/TLS", swiftSettings: strict),
        // The third driver: a script or a seed replaces the kernel. For tests, also of programs.
        .target(
            name: "MillraceSimulation", dependencies: ["MillraceEventLoop"],
            path: "Sources/Simulation", swiftSettings: strict),
        .target(
            name: "NetAPITesting",
            dependencies: ["NetAPI", "MillraceEventLoop", "MillraceSimulation"],
            path: "Sources/Testing", swiftSettings: strict),
        .target(
            name: "NetServices", dependencies: ["NetAPI", serviceLifecycle],
            path: "Sources/Services", swiftSettings: strict),
        .target(
            name: "NetMetrics",
            dependencies: [
                "NetAPI", "MillraceEventLoop", serviceLifecycle,
                .product(
                    name: "CoreMetrics", package: "swift-metrics",
                    condition: .when(traits: ["Metrics"])),
            ],
            path: "Sources/Metrics", swiftSettings: strict),

        .target(name: "MillraceTestSupport", path: "Tests/TestSupport", swiftSettings: strict),
        .testTarget(
            name: "EventLoopTests", dependencies: ["MillraceEventLoop", "MillraceTestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "DriverContractTests",
            dependencies: [
                "MillraceEventLoop", "MillraceEpoll", "MillraceUring", "MillraceSimulation",
                "CMillraceLinux", "MillraceTestSupport",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "SimulationTests",
            dependencies: ["MillraceEventLoop", "NetAPI", "MillraceSimulation", "CMillraceLinux"],
            swiftSettings: strict),
        .testTarget(
            name: "NetAPITests",
            dependencies: [
                "NetAPI", "NetTLS", "MillraceEventLoop", "CMillraceLinux", "CMillraceTLS",
                "MillraceTestSupport",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "NetAPITestingTests",
            dependencies: ["NetAPITesting", "NetAPI", "NetTLS", "CMillraceTLS"],
            swiftSettings: strict),
        .testTarget(name: "TidyTests", swiftSettings: strict),
    ]
)
