namespace KTrace.Tests.Support;

/// <summary>The stock kernel that the real-input tests use: an unpacked package root with boot/, lib/modules/ and usr/lib/debug/.</summary>
internal static class StockKernel
{
    public static string Root { get; } = Environment.GetEnvironmentVariable("KTRACE_TEST_KERNEL_DIR")
        ?? throw new InvalidOperationException("KTRACE_TEST_KERNEL_DIR is not set: run the tests with ./test, which fetches the kernel and sets it");

    /// <summary>The release, such as 6.1.0-56-amd64: the one folder in lib/modules.</summary>
    public static string Release { get; } = Path.GetFileName(Directory.GetDirectories(Path.Combine(Root, "lib/modules")).Single());

    public static string Vmlinuz => Path.Combine(Root, "boot", "vmlinuz-" + Release);

    public static string Vmlinux => Path.Combine(Root, "usr/lib/debug/boot", "vmlinux-" + Release);

    /// <summary>A module with its code (as it is loaded into the guest).</summary>
    public static string Module(string name) => FindModule(Path.Combine(Root, "lib/modules"), name);

    /// <summary>The same module's debug file.</summary>
    public static string DebugModule(string name) => FindModule(Path.Combine(Root, "usr/lib/debug/lib/modules"), name);

    private static string FindModule(string folder, string name) =>
        Directory.EnumerateFiles(folder, name + ".ko*", SearchOption.AllDirectories).First();
}
