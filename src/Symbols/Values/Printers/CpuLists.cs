// struct cpumask is a bitmap of NR_CPUS bits; with CONFIG_CPUMASK_OFFSTACK only nr_cpu_ids of them are allocated, and what follows belongs to somebody else
// (include/linux/cpumask.h: nr_cpumask_bits). Lists as the kernel prints them with %*pbl.
using System.Globalization;
using System.Text;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Printers;

/// <summary>Bitmaps of CPUs and nodes as lists: <c>0-3,7</c>.</summary>
internal sealed class CpuLists(ValueReader reader)
{
    private const int MaximumBytes = 2048;

    /// <summary>Null when it cannot be read, is missing (then noted), or is no bitmap.</summary>
    /// <param name="mask">A structure with one member <c>bits</c>, an array.</param>
    public string? Of(TypedValue mask)
    {
        if (reader.StructureOf(mask.Type) is not { } structure || ValueReader.FindMember(structure, "bits") is not { } member || member.Type.Resolved is not ArrayType)
        {
            return null;
        }

        var size = Math.Min(member.Type.Size, MaximumBytes);
        var limit = size * 8;
        if (structure.Name == "cpumask" && NumberOfCpus() is { } count)
        {
            var word = reader.Scope.Architecture.WordSize;
            limit = Math.Min(limit, count);
            size = Math.Min(size, ((count + (word * 8) - 1) / (word * 8)) * word);
        }

        if (size <= 0)
        {
            return null;
        }

        var bits = reader.MemberOf(mask, member);
        ReadOnlyMemory<byte> bytes;
        if (bits.Bytes.Length >= size)
        {
            bytes = bits.Bytes[..(int)size];
        }
        else
        {
            var read = new byte[size];
            if (bits.Address is not { } address || reader.Read(address, read) != ReadState.Ok)
            {
                return null;
            }

            bytes = read;
        }

        return List(bytes.Span, (int)limit);
    }

    /// <summary>Bits that are set, ranges joined; <c>none</c> when there are none.</summary>
    /// <param name="count">Bits that mean something: an "all CPUs" mask has more set than there are CPUs.</param>
    public static string List(ReadOnlySpan<byte> bits, int count)
    {
        var text = new StringBuilder();
        for (var i = 0; i < count; i++)
        {
            if (!IsSet(bits, i))
            {
                continue;
            }

            var last = i;
            while (last + 1 < count && IsSet(bits, last + 1))
            {
                last++;
            }

            text.Append(text.Length > 0 ? "," : "").Append(CultureInfo.InvariantCulture, $"{i}");
            if (last > i)
            {
                text.Append(CultureInfo.InvariantCulture, $"-{last}");
            }

            i = last;
        }

        return text.Length > 0 ? text.ToString() : "none";
    }

    private static bool IsSet(ReadOnlySpan<byte> bits, int index) => (bits[index / 8] & (1 << (index % 8))) != 0;

    private long? NumberOfCpus() =>
        reader.Scope.Types.FindVariable("nr_cpu_ids") is { } variable && variable.Type.Resolved is IntegerType
            && reader.Number(new TypedValue { Type = variable.Type, Address = variable.Address }) is { } count and > 0 and <= 1 << 16
            ? count
            : null;
}
