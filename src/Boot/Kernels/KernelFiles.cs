namespace KTrace.Boot.Kernels;

/// <summary>The files of one kernel, wherever they are. Paths are absolute.</summary>
/// <param name="Release">What uname -r says in the guest, such as 6.1.0-56-amd64.</param>
/// <param name="Image">The bootable image: vmlinuz, bzImage.</param>
/// <param name="Vmlinux">The ELF file with DWARF of exactly this build, if there is one.</param>
/// <param name="ModulesDirectory">The folder in which modules.dep (or, in a build tree, modules.order) lies; null if the kernel
/// has no modules here.</param>
/// <param name="DebugModulesDirectory">The folder with the same layout that has the modules' debug files; the same as <paramref
/// name="ModulesDirectory"/> for a local build.</param>
/// <param name="Config">The kernel's .config.</param>
public sealed record KernelFiles(string Release, string Image, string? Vmlinux, string? ModulesDirectory,
    string? DebugModulesDirectory, string? Config)
{
    /// <summary>Where they come from.</summary>
    public KernelOrigin Origin { get; init; } = KernelOrigin.Files;

    /// <summary>The debug file of a module of that name ('-' and '_' alike), or null. What QEMU's guest loads is stripped; this
    /// one has DWARF.</summary>
    public string? FindDebugModule(string name) => DebugModulesDirectory is null ? null : ModuleFiles.Find(DebugModulesDirectory,
        name);
}

/// <summary>Where a kernel's files come from.</summary>
public enum KernelOrigin
{
    /// <summary>ktrace's cache.</summary>
    Cache,

    /// <summary>Installed on this system (/boot, /lib/modules, /usr/lib/debug).</summary>
    System,

    /// <summary>A kernel build tree.</summary>
    BuildTree,

    /// <summary>Named one by one.</summary>
    Files,
}
