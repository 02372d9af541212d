// Which one function tells people where a hit belongs? Not the tracepoint's neighbours, which are the same for every hit, and not the roots
// (start_kernel, do_syscall_64), which are too. A guess for one column of a table: nothing else is decided by it.
namespace KTrace.Tracing;

/// <summary>Finds the frame of a call path that says most: the driver or subsystem that wanted something.</summary>
public static class CallPathLandmark
{
    private static readonly string[] Subsystems = ["drivers/", "net/", "fs/", "block/", "sound/", "security/", "crypto/", "ipc/"];

    // Places that ask on behalf of others: interrupt and PCI cores under drivers/.
    private static readonly string[] Cores = ["drivers/pci/msi/", "drivers/base/", "drivers/irqchip/", "drivers/pci/pci.c", "drivers/pci/pci-driver.c"];

    private static readonly string[] Roots = ["init/", "arch/x86/entry/", "kernel/kthread.c", "kernel/workqueue.c", "kernel/module/"];

    /// <summary>Null for an empty path.</summary>
    public static TraceFrame? Find(CallPath path)
    {
        return path.Frames.FirstOrDefault(frame => frame.Module is not null && !IsHeader(frame))
            ?? path.Frames.FirstOrDefault(frame => StartsWithAny(frame.File, Subsystems) && !StartsWithAny(frame.File, Cores))
            ?? path.Frames.LastOrDefault(frame => frame.File is { } file && !file.EndsWith(".S", StringComparison.Ordinal)
                && !StartsWithAny(file, Roots))
            ?? path.Frames.FirstOrDefault();
    }

    private static bool IsHeader(TraceFrame frame) => frame.File?.EndsWith(".h", StringComparison.Ordinal) == true;

    private static bool StartsWithAny(string? file, string[] prefixes) =>
        file is not null && prefixes.Any(prefix => file.StartsWith(prefix, StringComparison.Ordinal));
}
