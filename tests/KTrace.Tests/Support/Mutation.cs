using System.Buffers.Binary;
using System.Text;

namespace KTrace.Tests.Support;

/// <summary>Seeded damage: what disks, truncated downloads, broken producers and attackers do to bytes. The input is never changed.</summary>
internal static class Mutation
{
    /// <summary>Numbers at which readers' arithmetic goes wrong.</summary>
    private static readonly ulong[] Extremes =
    [
        0, 1, 2, 3, 7, 8, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fff_fff0, 0x7fff_ffff, 0x8000_0000, 0xffff_ff00, 0xffff_fff0, 0xffff_ffff, 0x1_0000_0000,
        0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, 0xffff_ffff_0000_0000, 0xffff_ffff_ffff_fff0, ulong.MaxValue,
    ];

    private static readonly string[] Tokens =
    [
        "\0", "\n", "\r\n", "\u001b[2J", "\u202e", "\ud83d\ude00", "{", "}", "[", "]", "\"", "\\", ":", ",", "#", "$", "*", "+", "-", ";", "<", ">", "&", "/", "=", "..", "../", "0", "-1",
        "99999999999999999999", "0x7fffffff", "0xffffffffffffffff", "1e400", "null", "&a", "*a", "!!binary", "%s", "\ufffd", "((((((((((", "[[[[[[[[[[", "{{{{{{{{{{",
    ];

    /// <summary>One to five changes of bytes, numbers, LEB128s, offsets or length.</summary>
    public static byte[] OfBytes(byte[] bytes, Random random)
    {
        var result = new List<byte>(bytes);
        for (var count = Count(random); count > 0 && result.Count > 0; count--)
        {
            Change(result, random);
        }

        return [.. result];
    }

    /// <summary>The same for what people and programs write as text: also tokens put in, lines and words repeated, moved and left out.</summary>
    public static byte[] OfText(byte[] bytes, Random random)
    {
        var result = new List<byte>(bytes);
        for (var count = Count(random); count > 0 && result.Count > 0; count--)
        {
            var at = random.Next(result.Count);
            switch (random.Next(6))
            {
                case 0:
                    result.InsertRange(at, Encoding.UTF8.GetBytes(Tokens[random.Next(Tokens.Length)]));
                    break;
                case 1:
                    var (start, length) = Piece(result, at, random.Next(2) == 0 ? "\n"u8 : " ,;:="u8);
                    result.RemoveRange(start, length);
                    break;
                case 2:
                    (start, length) = Piece(result, at, random.Next(2) == 0 ? "\n"u8 : " ,;:="u8);
                    var piece = result.GetRange(start, length);
                    for (var times = random.Next(8) == 0 ? 200 : 1; times > 0 && result.Count < bytes.Length + 100_000; times--)
                    {
                        result.InsertRange(start, piece);
                    }

                    break;
                case 3:
                    (start, length) = Piece(result, at, "\n"u8);
                    piece = result.GetRange(start, length);
                    result.RemoveRange(start, length);
                    result.InsertRange(random.Next(result.Count + 1), piece);
                    break;
                case 4:
                    // A number becomes another one.
                    while (at < result.Count && !char.IsAsciiHexDigit((char)result[at]))
                    {
                        at++;
                    }

                    var end = at;
                    while (end < result.Count && char.IsAsciiHexDigit((char)result[end]))
                    {
                        end++;
                    }

                    result.RemoveRange(at, end - at);
                    var number = Extremes[random.Next(Extremes.Length)];
                    result.InsertRange(at, Encoding.ASCII.GetBytes(random.Next(2) == 0 ? $"{number:x}" : $"{(long)number}"));
                    break;
                default:
                    Change(result, random);
                    break;
            }
        }

        return [.. result];
    }

    /// <summary>Swaps, repeats and leaves out whole blocks of 4 to 256 bytes: records of a table in the wrong order.</summary>
    public static byte[] OfBlocks(byte[] bytes, Random random)
    {
        var result = (byte[])bytes.Clone();
        for (var count = random.Next(1, 4); count > 0; count--)
        {
            var size = Math.Min(4 << random.Next(7), result.Length);
            if (size == 0)
            {
                break;
            }

            var from = random.Next(result.Length - size + 1);
            var to = random.Next(result.Length - size + 1);
            Buffer.BlockCopy(bytes, Math.Min(from, Math.Max(0, bytes.Length - size)), result, to, Math.Min(size, bytes.Length));
            if (random.Next(16) == 0)
            {
                result = [.. result[..to], .. result[(to + size)..]];
            }
        }

        return result;
    }

    // One change reaches deepest, several reach what only several wrong places together do.
    private static int Count(Random random) => random.Next(2) == 0 ? 1 : random.Next(1, 6);

    private static void Change(List<byte> bytes, Random random)
    {
        var at = random.Next(bytes.Count);
        switch (random.Next(12))
        {
            case 0:
                bytes[at] ^= (byte)(1 << random.Next(8));
                break;
            case 1:
                bytes[at] = (byte)random.Next(256);
                break;
            case 2:
                Fill(bytes, at, 1 << random.Next(4), 0xff);
                break;
            case 3:
                Fill(bytes, at, 1 << random.Next(4), 0);
                break;
            case 4:
                Write(bytes, at, Extremes[random.Next(Extremes.Length)], 1 << random.Next(1, 4));
                break;
            case 5:
                // An offset that leads elsewhere in the same bytes: cycles come from these.
                Write(bytes, at, (ulong)random.Next(bytes.Count + 16), 1 << random.Next(1, 4));
                break;
            case 6:
                // A number that is a little off.
                var size = 1 << random.Next(4);
                Write(bytes, at, Read(bytes, at, size) + (ulong)random.Next(-4, 5), size);
                break;
            case 7:
                // A LEB128 that is long, or does not end.
                byte[] leb = random.Next(3) switch
                {
                    0 => [0xff, 0xff, 0xff, 0xff, 0x07],
                    1 => [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                    _ => [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
                };
                for (var i = 0; i < leb.Length && at + i < bytes.Count; i++)
                {
                    bytes[at + i] = leb[i];
                }

                break;
            case 8:
                var from = random.Next(bytes.Count);
                var length = Math.Min(random.Next(1, 32), bytes.Count - Math.Max(at, from));
                var copy = bytes.GetRange(from, length);
                for (var i = 0; i < length; i++)
                {
                    bytes[at + i] = copy[i];
                }

                break;
            case 9:
                bytes.InsertRange(at, bytes.GetRange(at, Math.Min(random.Next(1, 20), bytes.Count - at)));
                break;
            case 10:
                bytes.RemoveRange(at, Math.Min(random.Next(1, 20), bytes.Count - at));
                break;
            default:
                if (random.Next(6) == 0)
                {
                    bytes.RemoveRange(at, bytes.Count - at);
                }

                break;
        }
    }

    private static (int Start, int Length) Piece(List<byte> bytes, int at, ReadOnlySpan<byte> separators)
    {
        var (start, end) = (at, at);
        while (start > 0 && !separators.Contains(bytes[start - 1]))
        {
            start--;
        }

        while (end < bytes.Count && !separators.Contains(bytes[end]))
        {
            end++;
        }

        return (start, Math.Min(end + 1, bytes.Count) - start);
    }

    private static void Fill(List<byte> bytes, int at, int count, byte value)
    {
        for (var i = at; i < Math.Min(at + count, bytes.Count); i++)
        {
            bytes[i] = value;
        }
    }

    private static ulong Read(List<byte> bytes, int at, int size)
    {
        ulong value = 0;
        for (var i = 0; i < size && at + i < bytes.Count; i++)
        {
            value |= (ulong)bytes[at + i] << (8 * i);
        }

        return value;
    }

    private static void Write(List<byte> bytes, int at, ulong value, int size)
    {
        Span<byte> number = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(number, value);
        for (var i = 0; i < size && at + i < bytes.Count; i++)
        {
            bytes[at + i] = number[i];
        }
    }
}
