using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Kernel;

/// <summary>What only a kernel can lack; DWARF is <see cref="ObjectFile"/>'s matter.</summary>
internal static class KernelLacks
{
    public static IEnumerable<KernelLack> Of(ElfFile file, bool hasDwarf)
    {
        if (!Has(file, ".BTF") && !hasDwarf)
        {
            yield return new KernelLack("no types (neither BTF nor DWARF)", "structures cannot be read: no tasks, no modules, no values", "build with CONFIG_DEBUG_INFO_BTF");
        }

        var hasCallFrames = Has(file, ".debug_frame") || Has(file, ".eh_frame");
        if (!Has(file, ".orc_unwind") && !hasCallFrames)
        {
            yield return new KernelLack(
                "no unwind tables (neither ORC nor CFI)", "call paths by frame pointers, where the kernel was built with them; otherwise they end early",
                "build with CONFIG_UNWINDER_ORC or CONFIG_UNWINDER_FRAME_POINTER");
        }

        if (file.BuildId.IsEmpty && !file.Sections.Any(s => s is { IsAllocated: true, HasContents: true }))
        {
            yield return new KernelLack("no build id", "that these files belong to the running kernel cannot be proven", null);
        }
    }

    private static bool Has(ElfFile file, string section) => file.FindSection(section) is { HasContents: true, Size: > 0 };
}
