namespace KTrace.Debugger.NonStop.Reading;

/// <summary>What is known of the kernel's stacks.</summary>
internal static class KernelStacks
{
    /// <summary>No stack of a kernel that is used has more: 16 KiB on x86-64, twice that with KASAN (arch/x86/include/asm/page_64_types.h).</summary>
    public const ulong LargestStack = 64 << 10;

    /// <summary>Task stacks are aligned to their size, which is this or a multiple; all other stacks are aligned to pages.</summary>
    public static ulong BlockOf(ulong address, int wordSize, bool isTaskStack) => address & ~(isTaskStack ? wordSize == 8 ? 0x3fffUL : 0x1fffUL : 0xfffUL);
}
