using System.Globalization;
using System.Net;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Printers;

/// <summary>Integers, enumerations and floating-point numbers as people read them.</summary>
internal sealed class NumberPrinter(IValueScope scope)
{
    private static readonly HashSet<string> ErrorNames = ["$ret", "err", "error", "ret", "retval", "rc", "rv", "res", "result", "status", "errno"];

    private static readonly HashSet<string> AddressTypes = ["dma_addr_t", "phys_addr_t", "resource_size_t", "uintptr_t", "kernel_ulong_t", "pteval_t", "pgprotval_t", "netdev_features_t"];

    /// <param name="value">With its bytes.</param>
    public string Print(NamedValue item, TypedValue value)
    {
        if (value.Type.Resolved is FloatType)
        {
            return Float(value.Bytes.Span);
        }

        if (value.Type.Resolved is EnumType enumeration && value.Number is { } enumerator)
        {
            return Enumerator(enumeration, enumerator);
        }

        if (value.Type.Resolved.Size > 8)
        {
            return value.Bytes.Length == 16 ? $"0x{new UInt128(BitConverter.ToUInt64(value.Bytes.Span[8..]), BitConverter.ToUInt64(value.Bytes.Span)):x}" : Hex(value.Bytes.Span);
        }

        return value.Type.Resolved is IntegerType integer && value.Number is { } number ? Integer(item, integer, number, value.BitSize) : "?";
    }

    private string Integer(NamedValue item, IntegerType type, long number, int bitSize)
    {
        var name = item.Name;
        if (type.Encoding == IntegerEncoding.Boolean)
        {
            return number switch { 0 => "false", 1 => "true", _ => number.ToString(CultureInfo.InvariantCulture) };
        }

        if (type.IsText && bitSize == 0)
        {
            return QuotedText.Character((byte)number);
        }

        var names = new TypeNameChain(item.Value.Type);
        if (BigEndian(names, name, number) is { } bigEndian)
        {
            return bigEndian;
        }

        if (names.Has("umode_t") && name is "i_mode" or "mode")
        {
            return "0" + Convert.ToString(number, 8);
        }

        if (FlagFamilies.Split(scope.Types, item.Owner, name, names.Has("gfp_t"), (ulong)number) is { } flags)
        {
            return number == 0 ? flags.Length > 0 ? flags : "0" : FormattableString.Invariant($"0x{number:x} {flags}");
        }

        if (type.IsSigned)
        {
            var text = number.ToString(CultureInfo.InvariantCulture);
            return number is < 0 and >= -4095 && ErrorNames.Contains(name) && ErrorNumbers.NameOf(-number) is { } error ? $"{text} (-{error})" : names.Has("ktime_t") ? text + " ns" : text;
        }

        if (type.Size == scope.Architecture.WordSize && bitSize == 0 && IsKernelAddress((ulong)number))
        {
            return scope.NameOf((ulong)number) is { } symbol ? FormattableString.Invariant($"0x{number:x} <{symbol}>")
                : type.Size == 8 || IsHexadecimal(item, names, (ulong)number) ? FormattableString.Invariant($"0x{number:x}")
                : ((ulong)number).ToString(CultureInfo.InvariantCulture);
        }

        return number != 0 && IsHexadecimal(item, names, (ulong)number) ? FormattableString.Invariant($"0x{number:x}") : ((ulong)number).ToString(CultureInfo.InvariantCulture);
    }

    private bool IsKernelAddress(ulong value) => scope.Architecture.WordSize == 8 ? value >= 0xffff_8000_0000_0000 && value < 0xffff_ffff_ffff_f000 : value is >= 0xc000_0000 and < 0xffff_f000;

    /// <summary>Numbers that nobody counts with.</summary>
    private static bool IsHexadecimal(NamedValue item, TypeNameChain names, ulong number)
    {
        var name = item.Name;
        return name.EndsWith("flags", StringComparison.Ordinal) || name.EndsWith("mask", StringComparison.Ordinal) || name.EndsWith("features", StringComparison.Ordinal)
            || (name.Contains("addr", StringComparison.Ordinal) && !name.Contains("len", StringComparison.Ordinal) && !name.Contains("type", StringComparison.Ordinal) && !name.Contains("assign", StringComparison.Ordinal))
            || item.Owner == "pt_regs" || (number >= 0x10000 && (name.EndsWith("start", StringComparison.Ordinal) || name.EndsWith("end", StringComparison.Ordinal) || name.EndsWith("base", StringComparison.Ordinal))) || (item.Owner == "resource" && name is "start" or "end") || name is "magic" or "canary"
            || AddressTypes.Any(names.Has);
    }

    private static string? BigEndian(TypeNameChain names, string name, long number)
    {
        if (names.Has("__be16"))
        {
            var value = (ushort)IPAddress.NetworkToHostOrder((short)number);
            return name.Contains("port", StringComparison.Ordinal) ? value.ToString(CultureInfo.InvariantCulture) : FormattableString.Invariant($"0x{value:x4}");
        }

        if (!names.Has("__be32"))
        {
            return null;
        }

        return name.Contains("addr", StringComparison.Ordinal) || name is "ifa_local" or "ifa_mask" or "ifa_broadcast"
            ? NetworkAddresses.Internet4((uint)number)
            : FormattableString.Invariant($"0x{(uint)IPAddress.NetworkToHostOrder((int)number):x8}");
    }

    private static string Enumerator(EnumType enumeration, long number)
    {
        foreach (var enumerator in enumeration.Enumerators)
        {
            if (enumerator.Value == number)
            {
                return enumerator.Name;
            }
        }

        return FlagFamilies.Split(enumeration, (ulong)number) ?? number.ToString(CultureInfo.InvariantCulture);
    }

    private static string Float(ReadOnlySpan<byte> bytes) => bytes.Length switch
    {
        4 => BitConverter.ToSingle(bytes).ToString("R", CultureInfo.InvariantCulture),
        8 => BitConverter.ToDouble(bytes).ToString("R", CultureInfo.InvariantCulture),
        _ => Hex(bytes),
    };

    private static string Hex(ReadOnlySpan<byte> littleEndian)
    {
        var bytes = littleEndian[..Math.Min(littleEndian.Length, 32)].ToArray();
        Array.Reverse(bytes);
        return "0x" + Convert.ToHexStringLower(bytes);
    }
}
