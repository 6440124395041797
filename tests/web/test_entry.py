"""Arriving, signing in and out."""

from tests.web_world import WebWorld, check_page


def test_pages_that_anybody_may_see(web: WebWorld) -> None:
    for path, name in (("/app/", "home"), ("/app/login", "login"), ("/app/offline", "offline")):
        check_page(web, None, path, name)


def test_a_person_signs_in_and_out(web: WebWorld) -> None:
    account = web.person("김회원")
    with web.page(account) as page:
        assert page.url == f"{web.url}/app/pass"
        page.click("text=로그아웃")
        page.wait_for_url(lambda url: url.endswith("/app/login?out=1"))
        page.goto(f"{web.url}/app/pass")
        page.wait_for_url(lambda url: "/app/login?next=/app/pass" in url)


def test_a_wrong_password_is_told_and_the_address_stays(web: WebWorld) -> None:
    with web.page() as page:
        page.goto(f"{web.url}/app/login")
        page.fill("#f-email", "nobody@example.com")
        page.fill("#f-password", "wrong-password-0")
        page.click("main button[type=submit]")
        assert "이메일이나 비밀번호가 맞지 않습니다" in page.inner_text("[role=alert]")
        assert page.input_value("#f-email") == "nobody@example.com"
