// include/asm-generic/vmlinux.lds.h (INIT_CALLS, CON_INITCALL) and include/linux/init.h, initcall_entry_t: with CONFIG_HAVE_ARCH_PREL32_RELOCATIONS (x86-64 since 4.19) an entry is a 32-bit
// distance from itself to the function; otherwise a pointer.
using System.Buffers.Binary;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.Tracepoints;

/// <summary>The functions that the kernel calls to set its parts up.</summary>
internal static class InitcallTable
{
    private static readonly (string Start, string End)[] Tables = [("__initcall_start", "__initcall_end"), ("__con_initcall_start", "__con_initcall_end")];

    /// <summary>Link-time addresses in the order of their calls; empty when the kernel's symbols do not tell.</summary>
    public static IReadOnlyList<ulong> Read(KernelImage image)
    {
        var calls = new List<ulong>();
        foreach (var (from, to) in Tables)
        {
            if (image.TryFindSymbol(from, out var start) && image.TryFindSymbol(to, out var end) && end.Value > start.Value && end.Value - start.Value < 1 << 20)
            {
                var bytes = new byte[end.Value - start.Value];
                if (image.TryRead(start.Value, bytes))
                {
                    var relative = Read(image, bytes, start.Value, isRelative: true);
                    calls.AddRange(relative.TrueForAll(image.Symbolizer.IsCode) ? relative : Read(image, bytes, start.Value, isRelative: false).Where(image.Symbolizer.IsCode));
                }
            }
        }

        return calls;
    }

    private static List<ulong> Read(KernelImage image, ReadOnlySpan<byte> bytes, ulong address, bool isRelative)
    {
        var calls = new List<ulong>();
        var size = isRelative ? 4 : image.Architecture.WordSize;
        for (var at = 0; at + size <= bytes.Length; at += size)
        {
            var value = isRelative ? address + (ulong)at + (ulong)BinaryPrimitives.ReadInt32LittleEndian(bytes[at..])
                : size == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(bytes[at..]) : BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);
            calls.Add(image.Architecture.WordSize == 4 ? (uint)value : value);
        }

        return calls;
    }
}
