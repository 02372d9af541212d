using System.Buffers.Binary;
using System.Text;

namespace KTrace.Tests.Support;

/// <summary>Seeded damage that knows what an ELF file is made of: headers, the section table, and the contents of chosen sections.</summary>
internal static class MutationOfElf
{
    /// <summary>Damages a file that was intact: its headers, or the contents of one or two sections (those with debug information most often).</summary>
    public static byte[] Of(byte[] file, Random random)
    {
        var result = (byte[])file.Clone();
        var is64 = file[4] == 2;
        for (var count = random.Next(1, 3); count > 0; count--)
        {
            switch (random.Next(10))
            {
                case 0:
                    Number(result, random.Next(4, is64 ? 64 : 52), 1 << random.Next(4), random);
                    break;
                case < 4:
                    DamageSectionHeader(result, is64, random);
                    break;
                case 4 when random.Next(4) == 0:
                    return result[..random.Next(1, result.Length)];
                default:
                    DamageContents(result, is64, random);
                    break;
            }
        }

        return result;
    }

    private static void DamageSectionHeader(byte[] file, bool is64, Random random)
    {
        var sections = Table(file, is64);
        if (sections.Length == 0)
        {
            return;
        }

        var header = sections[random.Next(sections.Length)].Header;
        var other = sections[random.Next(sections.Length)].Header;
        (int At, int Size)[] fields = is64
            ? [(0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8)]
            : [(0, 4), (4, 4), (8, 4), (12, 4), (16, 4), (20, 4), (24, 4), (28, 4), (32, 4), (36, 4)];
        if (random.Next(4) == 0)
        {
            // A section that is another one as well: the same name, or all of it.
            var size = random.Next(2) == 0 ? 4 : is64 ? 64 : 40;
            file.AsSpan(other, size).CopyTo(file.AsSpan(header, size));
        }
        else
        {
            var (at, size) = fields[random.Next(fields.Length)];
            Number(file, header + at, size, random);
        }
    }

    private static void DamageContents(byte[] file, bool is64, Random random)
    {
        var sections = Table(file, is64).Where(s => s.Length > 0).ToArray();
        if (sections.Length == 0)
        {
            return;
        }

        var interesting = sections.Where(s => s.IsInteresting).ToArray();
        var victim = interesting.Length > 0 && random.Next(4) > 0 ? interesting[random.Next(interesting.Length)] : sections[random.Next(sections.Length)];
        var contents = file.AsSpan(victim.Offset, victim.Length);
        var damaged = random.Next(6) == 0 ? Mutation.OfBlocks(contents.ToArray(), random) : Mutation.OfBytes(contents.ToArray(), random);
        damaged.AsSpan(0, Math.Min(damaged.Length, contents.Length)).CopyTo(contents);
    }

    private static void Number(byte[] file, int at, int size, Random random)
    {
        var value = random.Next(5) switch
        {
            0 => 0UL,
            1 => ulong.MaxValue,
            2 => (ulong)file.Length + (ulong)random.Next(-8, 9),
            3 => (ulong)random.Next(file.Length),
            _ => 1UL << random.Next(64),
        };
        for (var i = 0; i < size && at + i < file.Length; i++)
        {
            file[at + i] = (byte)(value >> (8 * i));
        }
    }

    private static (int Header, int Offset, int Length, bool IsInteresting)[] Table(byte[] file, bool is64)
    {
        ulong Word(int at) => (ulong)at + 8 > (ulong)file.Length ? 0 : is64 ? BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(at)) : BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at));
        var table = Word(is64 ? 40 : 32);
        int count = BinaryPrimitives.ReadUInt16LittleEndian(file.AsSpan(is64 ? 60 : 48));
        int names = BinaryPrimitives.ReadUInt16LittleEndian(file.AsSpan(is64 ? 62 : 50));
        var size = is64 ? 64 : 40;
        if (table > (ulong)file.Length || table + (ulong)(count * size) > (ulong)file.Length || names >= count)
        {
            return [];
        }

        var nameTable = Word((int)table + (names * size) + (is64 ? 24 : 16));
        var result = new (int, int, int, bool)[count];
        for (var i = 0; i < count; i++)
        {
            var header = (int)table + (i * size);
            var offset = Word(header + (is64 ? 24 : 16));
            var length = Word(header + (is64 ? 32 : 20));
            var fits = offset < (ulong)file.Length && length <= (ulong)file.Length - offset && BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(header + 4)) is not (0 or 8);
            var name = nameTable + BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(header));
            var text = fits && name < (ulong)file.Length - 8 ? Encoding.Latin1.GetString(file, (int)name, 8) : "";
            var isInteresting = text.StartsWith(".debug_", StringComparison.Ordinal) || text.StartsWith(".eh_fram", StringComparison.Ordinal)
                || text.StartsWith(".BTF", StringComparison.Ordinal) || text.StartsWith(".symtab", StringComparison.Ordinal) || text.StartsWith(".rela.", StringComparison.Ordinal)
                || text.StartsWith(".orc_", StringComparison.Ordinal) || text.StartsWith(".note", StringComparison.Ordinal);
            result[i] = (header, fits ? (int)offset : 0, fits ? (int)length : 0, isInteresting);
        }

        return result;
    }
}
